package modinfo

import (
	"encoding/binary"
	"io"
	"slices"
)

// An image is the unpacked bytes of a module: all in memory, or in a file of
// which only the needed pieces are read. Every access goes through at or scan,
// which check it against the size.
type image struct {
	mem  []byte      // the bytes, when they are in memory
	file io.ReaderAt // else where to read them
	size uint64
	// Pieces of the file that were read ahead, since they hold much that is
	// small: its beginning and, from tailOff, its end.
	head, tail []byte
	tailOff    uint64
	// chunk is the room that scan reads a file through.
	chunk []byte
}

// at returns n bytes at off, valid until the next module is read.
func (m *image) at(off, n uint64) ([]byte, error) {
	if off > m.size || n > m.size-off {
		return nil, malformed(off, "%d bytes are wanted, the file has %d", n, m.size)
	}
	switch {
	case m.mem != nil:
		return m.mem[off : off+n], nil
	case off+n <= uint64(len(m.head)):
		return m.head[off : off+n], nil
	case off >= m.tailOff && off-m.tailOff+n <= uint64(len(m.tail)):
		return m.tail[off-m.tailOff:][:n], nil
	}
	return m.readNew(off, n)
}

// readNew reads into new room, which grows only as far as there is something to
// read: that a file has so many bytes may be no more than its own claim.
func (m *image) readNew(off, n uint64) ([]byte, error) {
	const step = 1 << 20
	var b []byte
	for have := uint64(0); have < n; have = uint64(len(b)) {
		more := min(n-have, max(have, step))
		b = slices.Grow(b, int(more))[:have+more]
		if err := m.read(b[have:], off+have); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ahead is how many bytes are read at once of a file's beginning, and before
// its section table, where the linker puts the section names.
const ahead = 4 << 10

// readHead reads the beginning of a file.
func (m *image) readHead() error {
	if m.mem != nil {
		return nil
	}
	b := slices.Grow(m.head[:0], ahead)[:min(m.size, ahead)]
	m.head = b
	return m.read(b, 0)
}

// readTail reads the end of a file, from a little before off on; not when the
// end is so far away that something else than a section table must be there.
func (m *image) readTail(off uint64) error {
	const far = 64 << 10
	if m.mem != nil || off >= m.size || m.size-off > far {
		m.tail = m.tail[:0]
		return nil
	}
	m.tailOff = off - min(off, ahead)
	n := int(m.size - m.tailOff)
	m.tail = slices.Grow(m.tail[:0], n)[:n]
	return m.read(m.tail, m.tailOff)
}

// scan hands the n bytes at off to each, in pieces that are multiples of step.
func (m *image) scan(off, n, step uint64, each func([]byte) error) error {
	if m.mem != nil {
		b, err := m.at(off, n)
		if err != nil {
			return err
		}
		return each(b)
	}
	if off > m.size || n > m.size-off {
		return malformed(off, "%d bytes are wanted, the file has %d", n, m.size)
	}
	if m.chunk == nil {
		m.chunk = make([]byte, scanChunk)
	}
	room := scanChunk / step * step
	for n > 0 {
		b := m.chunk[:min(n, room)]
		if err := m.read(b, off); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
		off, n = off+uint64(len(b)), n-uint64(len(b))
	}
	return nil
}

// scanChunk is large enough for few system calls, small enough for the cache.
const scanChunk = 256 << 10

func (m *image) read(b []byte, off uint64) error {
	n, err := m.file.ReadAt(b, int64(off))
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return malformed(off, "the file shrank while it was read")
	}
	return err
}

// word reads a 4 or 8 byte address-sized number, as the file's class says.
func word(order binary.ByteOrder, b []byte, wide bool) uint64 {
	if wide {
		return order.Uint64(b)
	}
	return uint64(order.Uint32(b))
}
