package depmod

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
	"unsafe"

	"github.com/kstage/kstage/internal/fileid"
	"github.com/kstage/kstage/internal/largemem"
)

// A cache's file:
//
//	magic     one line
//	sizes     of the head and of the rest, 8 bytes each
//	head      that is what all runs need:
//	  program   string
//	  names     their number, then strings: of symbols and of .modinfo keys
//	  made      their number, then of each two sums, 32 bytes
//	  entries   their number, then of each
//	              sum of the content, and of what each part of an index takes of it, 32
//	              bytes
//	              device, inode, size, modified, changed: 8 bytes each
//	              full (0 or 1), age
//	              facts: string, see encode
//	              length of the rest of them
//	  CRC-32C   of all before, 4 bytes
//	rest      the rest of the facts of each entry
//	  CRC-32C   of all before in the rest, 4 bytes
//
// Numbers are varints unless said otherwise, those with a size are little-endian. A
// string is its length and its bytes.
const cacheMagic = "kstage module facts 5\n"

// startSize is the length of what stands before the head.
const startSize = len(cacheMagic) + 2*8

// mostNames bounds the names: they are only ever added to, as the facts of an entry
// that is taken over refer to them by number.
const mostNames = 1 << 20

// leastEntry is the length of an entry without facts.
const leastEntry = (1+int(parts))*sha256.Size + 5*8 + 4

// mostCache is the largest file that is read, in bytes; that of 3,103 modules has three
// million.
const mostCache = 256 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCache is any fault in a cache's file.
var errCache = errors.New("damaged cache")

// ReadCache reads what [Cache.WriteTo] wrote. A file that is damaged, or that another
// program made, is an empty cache. The file remains open until [Cache.Close], as the rest
// of what a module says is read when it is asked for.
func ReadCache(f fs.File, program string) *Cache {
	c := NewCache(program)
	if err := c.read(f); err != nil {
		_ = f.Close() // it is of no use
		return NewCache(program)
	}
	return c
}

func (c *Cache) read(f fs.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	start := make([]byte, startSize)
	if _, err := io.ReadFull(f, start); err != nil || string(start[:len(cacheMagic)]) != cacheMagic {
		return errCache
	}
	head, rest := binary.LittleEndian.Uint64(start[startSize-16:]), binary.LittleEndian.Uint64(start[startSize-8:])
	if size := info.Size(); size > mostCache || head > uint64(size) || uint64(size)-uint64(startSize)-head != rest {
		return errCache
	}
	in, err := readSummed(f, int(head), start)
	if err == nil {
		err = c.readHead(in)
	}
	c.rest.file, c.rest.size = f, int(rest)
	return err
}

// cacheRest is the rest of a cache's file.
type cacheRest struct {
	once    sync.Once // it is read, or will never be
	file    fs.File
	size    int
	entries []remembered // whose it is
}

// read reads it, if nobody has. Without it nothing is known but what index files need.
func (r *cacheRest) read() {
	r.once.Do(func() {
		if r.file == nil {
			return
		}
		defer r.file.Close()
		in, err := readSummed(r.file, r.size, nil)
		if err != nil {
			return
		}
		for i := range r.entries {
			r.entries[i].rest = in.take(r.entries[i].restSize)
		}
	})
}

// Close closes the file that the cache was read from. What was not read of it is lost.
func (c *Cache) Close() (err error) {
	c.loading.Wait()
	c.rest.once.Do(func() {
		if c.rest.file != nil {
			err = c.rest.file.Close()
		}
	})
	return err
}

// readSummed reads so many bytes, the last four of which are their sum, with what stood
// before.
func readSummed(f io.Reader, size int, before []byte) (cursor, error) {
	data := largemem.Make(size)
	if _, err := io.ReadFull(f, data); err != nil {
		return cursor{}, err
	}
	body := size - 4
	if body < 0 || crc32.Update(crc32.Checksum(before, castagnoli), castagnoli, data[:body]) != binary.LittleEndian.Uint32(data[body:]) {
		return cursor{}, errCache
	}
	return cursor{rest: unsafe.String(unsafe.SliceData(data), body)}, nil // spares a copy of some megabytes
}

func (c *Cache) readHead(in cursor) error {
	if in.string() != c.program {
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
		e.content = in.digest()
		for part := range e.index {
			e.index[part] = in.digest()
		}
		e.id = fileid.ID{Device: in.uint64(), Inode: in.uint64(), Size: int64(in.uint64()), Modified: int64(in.uint64()), Changed: int64(in.uint64())}
		e.full, e.age = in.number() != 0, in.number()+1
		e.facts = in.string()
		e.restSize = int(min(in.number(), mostCache))
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
	c.rest.entries = entries
	return nil
}

// WriteTo writes the cache. Entries that nobody has asked for since it was
// written a few times are left out.
func (c *Cache) WriteTo(w io.Writer) (int64, error) {
	c.loading.Wait()
	c.rest.read()
	kept := slices.DeleteFunc(c.entries(), func(e *remembered) bool { return e.age > oldest })
	rest := 4
	for _, e := range kept {
		rest += len(e.rest)
	}
	var head counter
	(&summed{w: &head}).head(c, kept)
	buffered := bufio.NewWriterSize(w, 64<<10)
	out := &summed{w: buffered}
	start := binary.LittleEndian.AppendUint64([]byte(cacheMagic), uint64(head))
	out.add(binary.LittleEndian.AppendUint64(start, uint64(rest)))
	out.head(c, kept)
	out.sum = 0
	var room []byte
	for _, e := range kept {
		room = append(room[:0], e.rest...)
		out.add(room)
	}
	out.end()
	return out.written, buffered.Flush()
}

// head writes the head, and its sum.
func (s *summed) head(c *Cache, kept []*remembered) {
	room := appendString(nil, c.program)
	room = binary.AppendUvarint(room, uint64(len(c.names.list)))
	s.add(room)
	for _, name := range c.names.list {
		room = appendString(room[:0], name)
		s.add(room)
	}
	room = binary.AppendUvarint(room[:0], uint64(len(c.made)))
	for _, m := range c.made {
		room = append(append(room, m.from[:]...), m.files[:]...)
	}
	s.add(binary.AppendUvarint(room, uint64(len(kept))))
	for _, e := range kept {
		room = e.append(room[:0])
		s.add(room)
	}
	s.end()
}

// append writes all of an entry but the rest of its facts.
func (e *remembered) append(b []byte) []byte {
	b = append(b, e.content[:]...)
	for _, sum := range e.index {
		b = append(b, sum[:]...)
	}
	for _, v := range []uint64{e.id.Device, e.id.Inode, uint64(e.id.Size), uint64(e.id.Modified), uint64(e.id.Changed)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	full := uint64(0)
	if e.full {
		full = 1
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, full), e.age)
	b = appendString(b, e.facts)
	return binary.AppendUvarint(b, uint64(len(e.rest)))
}

// summed sums up what goes through it. The bufio.Writer behind it keeps the first error.
type summed struct {
	w       io.Writer
	sum     uint32
	written int64
}

func (s *summed) add(b []byte) {
	s.sum = crc32.Update(s.sum, castagnoli, b)
	n, _ := s.w.Write(b)
	s.written += int64(n)
}

func (s *summed) end() { s.add(binary.LittleEndian.AppendUint32(nil, s.sum)) }

// A counter counts what is written to it.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
