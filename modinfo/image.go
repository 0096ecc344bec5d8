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
	mem    []byte      // the bytes, when they are in memory
	file   io.ReaderAt // else where to read them
	size   uint64
	pieces []piece // of the file, that were read ahead
	room   []byte  // what the pieces stand in; used again for the next module
	// chunk is the room that scan reads a file through.
	chunk []byte
}

type piece struct {
	off  uint64
	data []byte
}

// reset takes another file.
func (m *image) reset(file io.ReaderAt, size uint64) {
	m.mem, m.file, m.size = nil, file, size
	m.pieces, m.room = m.pieces[:0], m.room[:0]
}

// at returns n bytes at off, valid until the next module is read.
func (m *image) at(off, n uint64) ([]byte, error) {
	if off > m.size || n > m.size-off {
		return nil, malformed(off, "%d bytes are wanted, the file has %d", n, m.size)
	}
	if b, ok := m.have(off, n); ok {
		return b, nil
	}
	return m.readNew(off, n)
}

// have returns bytes that are in memory.
func (m *image) have(off, n uint64) ([]byte, bool) {
	if m.mem != nil {
		return m.mem[off : off+n], true
	}
	for _, p := range m.pieces {
		if size := uint64(len(p.data)); off >= p.off && off-p.off <= size && n <= size-(off-p.off) {
			return p.data[off-p.off:][:n], true
		}
	}
	return nil, false
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

// mostAhead bounds what is read ahead in one piece; no module of a distribution
// has more symbol names.
const mostAhead = 1 << 20

// readAhead reads from off to end, or to the end of the file, in one go: a system
// call takes as long as copying some thousand bytes. What is too much, or there
// already, is left to at.
func (m *image) readAhead(off, end uint64) error {
	end = min(end, m.size)
	if off >= end || end-off > mostAhead {
		return nil
	}
	if _, ok := m.have(off, end-off); ok {
		return nil
	}
	n := int(end - off)
	if cap(m.room)-len(m.room) < n {
		m.room = make([]byte, 0, max(2*cap(m.room), n)) // the pieces before keep theirs
	}
	b := m.room[len(m.room):][:n]
	if err := m.read(b, off); err != nil {
		return err
	}
	m.room = m.room[:len(m.room)+n]
	m.pieces = append(m.pieces, piece{off, b})
	return nil
}

// scan hands the n bytes at off to each, in pieces that are multiples of step.
func (m *image) scan(off, n, step uint64, each func([]byte) error) error {
	if off > m.size || n > m.size-off {
		return malformed(off, "%d bytes are wanted, the file has %d", n, m.size)
	}
	if b, ok := m.have(off, n); ok {
		return each(b)
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
