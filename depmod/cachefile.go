package depmod

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unsafe"

	"github.com/kstage/kstage/internal/fileid"
	"github.com/kstage/kstage/modinfo"
)

// A cache's file:
//
//	magic     one line
//	program   string
//	names     their number, then strings: of symbols and of .modinfo keys
//	made      their number, then of each two sums, 32 bytes
//	entries   their number, then of each
//	            sum of the content, and of what an index takes of it, 32 bytes
//	            device, inode, size, modified, changed: 8 bytes each
//	            full (0 or 1), age
//	            facts: string, see encode
//	CRC-32C   of all before, 4 bytes
//
// Numbers are varints unless said otherwise, those with a size are little-endian. A
// string is its length and its bytes.
const cacheMagic = "kstage module facts 4\n"

// mostNames bounds the names: they are only ever added to, as the facts of an entry
// that is taken over refer to them by number.
const mostNames = 1 << 20

// leastEntry is the length of an entry without facts.
const leastEntry = 2*sha256.Size + 5*8 + 3

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCache is any fault in a cache's file.
var errCache = errors.New("damaged cache")

// ReadCache reads what [Cache.WriteTo] wrote. From a file that is damaged, or that
// another program made, comes an empty cache. It keeps data, which must not be changed.
func ReadCache(data []byte, program string) *Cache {
	c := NewCache(program)
	if err := c.read(data); err != nil {
		return NewCache(program)
	}
	return c
}

func (c *Cache) read(data []byte) error {
	body := len(data) - 4
	if body < 0 || crc32.Checksum(data[:body], castagnoli) != binary.LittleEndian.Uint32(data[body:]) {
		return errCache
	}
	in := cursor{rest: unsafe.String(unsafe.SliceData(data), body)} // spares a copy of some megabytes
	if in.take(len(cacheMagic)) != cacheMagic || in.string() != c.program {
		return errCache
	}
	n := in.count()
	if n > mostNames {
		return errCache
	}
	c.names.list = make([]string, n)
	for i := range c.names.list {
		c.names.list[i] = in.string()
	}
	if n = in.count(); n > mostMade {
		return errCache
	}
	for range n {
		c.made = append(c.made, made{in.digest(), in.digest()})
	}
	if n = in.count(); n > len(in.rest)/leastEntry {
		return errCache
	}
	entries := make([]remembered, n)
	c.byContent, c.byID = make(map[digest]*remembered, len(entries)), make(map[fileid.ID]*remembered, len(entries))
	for i := range entries {
		e := &entries[i]
		*e = remembered{content: in.digest(), index: in.digest()}
		e.id = fileid.ID{Device: in.uint64(), Inode: in.uint64(), Size: int64(in.uint64()), Modified: int64(in.uint64()), Changed: int64(in.uint64())}
		e.full, e.age = in.number() != 0, in.number()+1
		e.facts = in.string()
		c.byContent[e.content] = e
		if e.id != (fileid.ID{}) {
			c.byID[e.id] = e
		}
		if in.bad {
			return errCache
		}
	}
	if in.bad || len(in.rest) > 0 {
		return errCache
	}
	return nil
}

// WriteTo writes the cache. Entries that nobody has asked for since it was
// written a few times are left out.
func (c *Cache) WriteTo(w io.Writer) (int64, error) {
	c.loading.Wait()
	out := &summed{w: bufio.NewWriterSize(w, 64<<10)}
	out.add(appendString([]byte(cacheMagic), c.program))
	room := binary.AppendUvarint(nil, uint64(len(c.names.list)))
	out.add(room)
	for _, name := range c.names.list {
		room = appendString(room[:0], name)
		out.add(room)
	}
	room = binary.AppendUvarint(room[:0], uint64(len(c.made)))
	for _, m := range c.made {
		room = append(append(room, m.from[:]...), m.files[:]...)
	}
	out.add(room)
	kept := slices.DeleteFunc(c.entries(), func(e *remembered) bool { return e.age > oldest })
	out.add(binary.AppendUvarint(room[:0], uint64(len(kept))))
	for _, e := range kept {
		room = e.appendHead(room[:0])
		out.add(room)
		room = append(room[:0], e.facts...)
		out.add(room)
	}
	out.add(binary.LittleEndian.AppendUint32(room[:0], out.sum))
	return out.written, out.w.Flush()
}

// appendHead writes all of an entry but the bytes of its facts.
func (e *remembered) appendHead(b []byte) []byte {
	b = append(append(b, e.content[:]...), e.index[:]...)
	for _, v := range []uint64{e.id.Device, e.id.Inode, uint64(e.id.Size), uint64(e.id.Modified), uint64(e.id.Changed)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	full := uint64(0)
	if e.full {
		full = 1
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, full), e.age)
	return binary.AppendUvarint(b, uint64(len(e.facts)))
}

// summed sums up what goes through it. The bufio.Writer keeps the first error.
type summed struct {
	w       *bufio.Writer
	sum     uint32
	written int64
}

func (s *summed) add(b []byte) {
	s.sum = crc32.Update(s.sum, castagnoli, b)
	n, _ := s.w.Write(b)
	s.written += int64(n)
}

// A nameTable gives names numbers.
type nameTable struct {
	list    []string
	numbers map[string]uint64 // of list; made when the first name is added
}

func (t *nameTable) number(name string) uint64 {
	if t.numbers == nil {
		t.numbers = make(map[string]uint64, len(t.list))
		for i, name := range t.list {
			t.numbers[name] = uint64(i)
		}
	}
	n, ok := t.numbers[name]
	if !ok {
		n = uint64(len(t.list))
		t.numbers[name], t.list = n, append(t.list, name)
	}
	return n
}

// importBind are the bits of an import's number that tell its Bind; the others are those
// of the name.
const (
	importBind = 1<<importName - 1
	importName = 2
)

// encode writes what a Scan uses of a module:
//
//	imports   their number, then of each name × 4 + bind: 4 bytes each
//	exports   their number, then of each the name: 4 bytes each
//	packing, unpacked size, class, data, machine
//	fields    0 if there are none, else their number + 1; key, value: name, string
//	CRCs      0, or 1 and those of the imports and of the exports, 8 bytes each
//
// What most runs need, and what there is most of, comes first and has a fixed size.
func (t *nameTable) encode(m *modinfo.Module) string {
	var out []byte
	add := func(v uint64) { out = binary.AppendUvarint(out, v) }
	word := func(v uint64) { out = binary.LittleEndian.AppendUint32(out, uint32(v)) }
	var crcs []byte
	known := uint64(0) // all of their bits
	crc := func(v uint64) {
		crcs = binary.LittleEndian.AppendUint64(crcs, v)
		known |= v
	}
	word(uint64(len(m.Imports)))
	for _, i := range m.Imports {
		word(t.number(i.Name)<<importName | uint64(i.Bind))
		crc(i.CRC)
	}
	word(uint64(len(m.Exports)))
	for _, e := range m.Exports {
		word(t.number(e.Name))
		crc(e.CRC)
	}
	for _, v := range []uint64{uint64(m.Compression), uint64(m.Size), uint64(m.Class), uint64(m.Data), uint64(m.Machine)} {
		add(v)
	}
	if m.Fields == nil {
		add(0)
	} else {
		add(uint64(len(m.Fields)) + 1)
	}
	for _, f := range m.Fields {
		add(t.number(f.Key))
		out = appendString(out, f.Value)
	}
	if known == 0 {
		add(0)
		return string(out)
	}
	add(1)
	return string(append(out, crcs...))
}

// asks is what a module asks of others and offers them, in the numbers of a cache's names.
type asks struct{ imports, exports words }

// words are numbers of 4 bytes.
type words string

func (w words) len() int { return len(w) / 4 }

func (w words) at(i int) uint32 {
	b := w[4*i : 4*i+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// A decoder is the way back. It makes the lists of many modules out of few pieces of
// memory.
type decoder struct {
	fields  pieces[modinfo.Field]
	exports pieces[modinfo.Export]
	imports pieces[modinfo.Import]
}

// pieces gives slices of its memory away.
type pieces[T any] struct {
	memory []T
	left   int // the last of it
}

func (p *pieces[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n > p.left {
		p.memory = make([]T, max(n, 2048))
		p.left = len(p.memory)
	}
	from := len(p.memory) - p.left
	p.left -= n
	return p.memory[from : from+n : from+n]
}

// giveBack takes the last n of the last slice back. They must not have been used.
func (p *pieces[T]) giveBack(n int) { p.left += n }

// decode gives a module its facts. With brief it gets those that index files are made
// from, and no imports and exports but in numbers.
func (d *decoder) decode(facts string, names []string, brief bool) (*modinfo.Module, asks, error) {
	in := cursor{rest: facts, names: names}
	a := in.asks()
	m := &modinfo.Module{Compression: modinfo.Compression(in.number()), Size: int64(in.number()),
		Class: elf.Class(in.number()), Data: elf.Data(in.number()), Machine: elf.Machine(in.number())}
	m.Fields = d.readFields(&in, brief)
	if brief {
		if in.bad {
			return nil, asks{}, errCache
		}
		return m, a, nil
	}
	m.Exports, m.Imports = d.exports.take(a.exports.len()), d.imports.take(a.imports.len())
	crc := func() uint64 { return 0 }
	if in.number() != 0 {
		crc = in.uint64
	}
	for i := range m.Imports {
		head := a.imports.at(i)
		m.Imports[i] = modinfo.Import{Name: in.name(uint64(head >> importName)), Bind: modinfo.Bind(head & importBind), CRC: crc()}
	}
	for i := range m.Exports {
		m.Exports[i] = modinfo.Export{Name: in.name(uint64(a.exports.at(i))), CRC: crc()}
	}
	if in.bad || len(in.rest) > 0 {
		return nil, asks{}, errCache
	}
	return m, a, nil
}

func (d *decoder) readFields(in *cursor, brief bool) []modinfo.Field {
	switch n := in.number(); n {
	case 0:
		return nil
	case 1:
		return []modinfo.Field{}
	default:
		all := d.fields.take(in.most(n - 1))
		fields := all[:0]
		for range all {
			if f := (modinfo.Field{Key: in.name(in.number()), Value: in.string()}); !brief || inIndex(f.Key) {
				fields = append(fields, f)
			}
		}
		d.fields.giveBack(len(all) - len(fields))
		return slices.Clip(fields)
	}
}

// A cursor takes a cache's file apart. After the first thing that is not there it is
// bad, and gives zeros.
type cursor struct {
	rest  string
	names []string
	bad   bool
}

func (c *cursor) number() uint64 {
	var v uint64
	for i := 0; i < len(c.rest) && i < binary.MaxVarintLen64; i++ {
		b := c.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return v
		}
	}
	c.bad, c.rest = true, ""
	return 0
}

// count is a number of things that take a byte at least.
func (c *cursor) count() int { return c.most(c.number()) }

func (c *cursor) most(n uint64) int {
	if n > uint64(len(c.rest)) {
		c.bad, c.rest = true, ""
		return 0
	}
	return int(n)
}

func (c *cursor) take(n int) string {
	n = c.most(uint64(n))
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// fixed is take, and zeros when there is not so much.
func (c *cursor) fixed(n int) string {
	if s := c.take(n); len(s) == n {
		return s
	}
	return strings.Repeat("\x00", n)
}

func (c *cursor) digest() digest { return digest([]byte(c.fixed(sha256.Size))) }
func (c *cursor) uint64() uint64 { return binary.LittleEndian.Uint64([]byte(c.fixed(8))) }
func (c *cursor) string() string { return c.take(c.count()) }

func (c *cursor) asks() asks { return asks{imports: c.words(importName), exports: c.words(0)} }

// words takes numbers of names, of which each stands above so many bits.
func (c *cursor) words(bits int) words {
	n := c.take(4)
	if len(n) < 4 {
		return ""
	}
	w := words(c.take(4 * int(words(n).at(0))))
	for i := range w.len() {
		if w.at(i)>>bits >= uint32(len(c.names)) {
			c.bad = true
			return ""
		}
	}
	return w
}

func (c *cursor) name(n uint64) string {
	if n >= uint64(len(c.names)) {
		c.bad = true
		return ""
	}
	return c.names[n]
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
