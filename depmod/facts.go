package depmod

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/kstage/kstage/modinfo"
)

// importBind are the bits of an import's number that tell its Bind; the others are those
// of the name.
const (
	importBind = 1<<importName - 1
	importName = 2
)

// encode writes what a Scan uses of a module. The facts are those that index files are
// made from, which are all that many runs need:
//
//	imports   their number, then of each name × 4 + bind: 4 bytes each
//	exports   their number, then of each the name: 4 bytes each
//	fields    the number of those that get into an index, then of each key, value:
//	          name, string
//
// The rest:
//
//	packing, unpacked size, class, data, machine
//	fields    0 if there are none, else their number + 1; of each the key: name;
//	          and the value, string, of those that do not get into an index
//	CRCs      their size, which is 0, 4 or 8 bytes, and those of the imports and of the
//	          exports; only where a run has asked for them
func (t *nameTable) encode(m *modinfo.Module, crcs bool) (facts, rest string) {
	var out []byte
	add := func(v int) { out = binary.AppendUvarint(out, uint64(v)) }
	word := func(v uint32) { out = binary.LittleEndian.AppendUint32(out, v) }
	word(uint32(len(m.Imports)))
	for _, i := range m.Imports {
		word(t.number(i.Name)<<importName | uint32(i.Bind))
	}
	word(uint32(len(m.Exports)))
	for _, e := range m.Exports {
		word(t.number(e.Name))
	}
	indexed := slices.DeleteFunc(slices.Clone(m.Fields), func(f modinfo.Field) bool { return !inIndex(f.Key) })
	add(len(indexed))
	for _, f := range indexed {
		add(int(t.number(f.Key)))
		out = appendString(out, f.Value)
	}
	facts, out = string(out), out[:0]

	for _, v := range []int{int(m.Compression), int(m.Size), int(m.Class), int(m.Data), int(m.Machine)} {
		add(v)
	}
	if m.Fields == nil {
		add(0)
	} else {
		add(len(m.Fields) + 1)
	}
	for _, f := range m.Fields {
		add(int(t.number(f.Key)))
		if !inIndex(f.Key) {
			out = appendString(out, f.Value)
		}
	}
	if !crcs {
		return facts, string(append(out, 0))
	}
	return facts, string(appendCRCs(out, m))
}

func appendCRCs(out []byte, m *modinfo.Module) []byte {
	var crcs []uint64
	all := uint64(0) // their bits
	for _, i := range m.Imports {
		crcs, all = append(crcs, i.CRC), all|i.CRC
	}
	for _, e := range m.Exports {
		crcs, all = append(crcs, e.CRC), all|e.CRC
	}
	switch {
	case all == 0:
		return append(out, 0)
	case all>>32 == 0:
		out = append(out, 4)
		for _, crc := range crcs {
			out = binary.LittleEndian.AppendUint32(out, uint32(crc))
		}
	default:
		out = append(out, 8)
		for _, crc := range crcs {
			out = binary.LittleEndian.AppendUint64(out, crc)
		}
	}
	return out
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

// brief gives a module with those of its facts that index files are made from. Its
// imports and exports come in numbers only.
func (d *decoder) brief(facts string, names []string) (*modinfo.Module, asks, error) {
	in := cursor{rest: facts, names: names}
	a := in.asks()
	m := &modinfo.Module{Fields: d.fields.take(in.count())}
	for i := range m.Fields {
		m.Fields[i] = modinfo.Field{Key: in.name(in.number()), Value: in.string()}
	}
	if in.bad || len(in.rest) > 0 {
		return nil, asks{}, errCache
	}
	return m, a, nil
}

// whole gives a module with all of its facts.
func (d *decoder) whole(facts, rest string, names []string) (*modinfo.Module, asks, error) {
	indexed, a, err := d.brief(facts, names)
	if err != nil {
		return nil, asks{}, err
	}
	in := cursor{rest: rest, names: names}
	m := &modinfo.Module{Compression: modinfo.Compression(in.number()), Size: int64(in.number()),
		Class: elf.Class(in.number()), Data: elf.Data(in.number()), Machine: elf.Machine(in.number())}
	m.Fields = d.merge(&in, indexed.Fields)
	m.Exports, m.Imports = d.exports.take(a.exports.len()), d.imports.take(a.imports.len())
	crc := in.crcs()
	for i := range m.Imports {
		head := a.imports.at(i)
		m.Imports[i] = modinfo.Import{Name: names[head>>importName], Bind: modinfo.Bind(head & importBind), CRC: crc()}
	}
	for i := range m.Exports {
		m.Exports[i] = modinfo.Export{Name: names[a.exports.at(i)], CRC: crc()}
	}
	if in.bad || len(in.rest) > 0 {
		return nil, asks{}, errCache
	}
	return m, a, nil
}

// merge puts the fields that get into an index among the others.
func (d *decoder) merge(in *cursor, indexed []modinfo.Field) []modinfo.Field {
	n := in.number()
	if n == 0 {
		return nil
	}
	fields := d.fields.take(in.most(n - 1))
	if fields == nil {
		return []modinfo.Field{}
	}
	for i := range fields {
		switch key := in.name(in.number()); {
		case !inIndex(key):
			fields[i] = modinfo.Field{Key: key, Value: in.string()}
		case len(indexed) == 0 || indexed[0].Key != key:
			in.bad = true
		default:
			fields[i], indexed = indexed[0], indexed[1:]
		}
	}
	in.bad = in.bad || len(indexed) > 0
	return fields
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

// crcs gives what reads one CRC after the other.
func (c *cursor) crcs() func() uint64 {
	switch c.number() {
	case 0:
		return func() uint64 { return 0 }
	case 4:
		return func() uint64 { return uint64(binary.LittleEndian.Uint32([]byte(c.fixed(4)))) }
	case 8:
		return c.uint64
	}
	c.bad = true
	return func() uint64 { return 0 }
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
