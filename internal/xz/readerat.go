package xz

import (
	"errors"
	"io"
	"math"
	"slices"
	"sort"
	"sync"
)

// A Reader gives pieces of what a file unpacks to. It unpacks only the blocks
// that are asked for: xz -T writes a block for each few MiB. Of the first one,
// where files have their headers, no more is unpacked than up to the chunk (at
// most 2 MiB) that is asked for. The checks of blocks that nobody asks for are
// not looked at.
//
// It is an [io.ReaderAt]: several goroutines may use it at a time (they wait
// for each other). The zero value is an empty file; see [Reader.Reset].
type Reader struct {
	mu    sync.Mutex
	r     io.ReaderAt
	dec   Decoder
	first Decoder   // of the first block, as far as it was asked for
	cache [4]cached // other blocks, latest first
}

// cached is an unpacked block. ELF readers go back and forth between headers,
// names and a section, so more than one is kept.
type cached struct {
	number int // of the block, from 1; 0 for none
	data   []byte
}

// NewReader reads the index of r, see [Reader.Reset].
func NewReader(r io.ReaderAt, size, limit int64) (*Reader, error) {
	x := new(Reader)
	return x, x.Reset(r, size, limit)
}

// Reset reads the index of r, which has size bytes, and takes r instead of what
// there was. Memory is used again. All blocks together must not unpack to more
// than limit bytes. Room for one of them is made as [Decoder.DecodeAll] does,
// and the last 4 are kept.
func (x *Reader) Reset(r io.ReaderAt, size, limit int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.r = r
	x.first.block = unpacking{}
	for i := range x.cache {
		x.cache[i].number = 0
	}
	d := &x.dec.index
	err := d.open(r, size)
	if limit = min(limit, math.MaxInt); err == nil && d.size > limit {
		err = fail(ErrLimit, 0, "there are %d bytes, the limit is %d", d.size, limit)
	}
	if err != nil {
		d.blocks, d.size = d.blocks[:0], 0
	}
	return err
}

// Size is how many bytes there are, unpacked.
func (x *Reader) Size() int64 { return x.dec.index.size }

// Blocks is how many blocks there are. It pays to read a file in pieces when
// there is more than one.
func (x *Reader) Blocks() int { return len(x.dec.index.blocks) }

// ReadAt reads unpacked bytes. Errors of the packed data are [*FormatError].
func (x *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	blocks := x.dec.index.blocks
	i := sort.Search(len(blocks), func(i int) bool { return off < blocks[i].at+blocks[i].unpacked })
	for ; n < len(p); i++ {
		if i == len(blocks) {
			return n, io.EOF
		}
		from := max(off-blocks[i].at, 0)
		data, err := x.block(i, min(from+int64(len(p)-n), blocks[i].unpacked))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[from:])
	}
	return n, nil
}

// block gives the first end bytes of what a block unpacks to, or more.
func (x *Reader) block(i int, end int64) ([]byte, error) {
	if i == 0 {
		return x.front(end)
	}
	at := slices.IndexFunc(x.cache[:], func(c cached) bool { return c.number == i+1 })
	if at < 0 {
		at = len(x.cache) - 1
		last := &x.cache[at]
		last.number = 0
		b := x.dec.index.blocks[i]
		dst, src, err := x.read(&x.dec, b, last.data)
		if err != nil {
			return nil, err
		}
		data, err := x.dec.whole(dst, src, b)
		if err != nil {
			return nil, err
		}
		*last = cached{i + 1, data}
	}
	b := x.cache[at]
	copy(x.cache[1:at+1], x.cache[:at])
	x.cache[0] = b
	return b.data, nil
}

// front gives the first end bytes of the first block, or more.
func (x *Reader) front(end int64) ([]byte, error) {
	d := &x.first
	err := error(nil)
	if d.block.src == nil {
		b := x.dec.index.blocks[0]
		var src []byte
		if d.out, src, err = x.read(d, b, d.out); err != nil {
			return nil, err
		}
		err = d.begin(d.out, src, b)
	}
	if err == nil {
		err = d.upTo(int(end))
	}
	if err != nil {
		d.block = unpacking{} // to meet it again
		return nil, err
	}
	return d.out, nil
}

// read reads a block, and makes room for what it unpacks to in dst.
func (x *Reader) read(d *Decoder, b block, dst []byte) (room, src []byte, err error) {
	if src, err = d.index.read(x.r, b.off, b.padded()); err != nil {
		return dst[:0], nil, err
	}
	d.total = int(b.unpacked)
	if b.unpacked <= maxClaim*int64(len(src)) {
		dst = grow(dst[:0], int(b.unpacked))
	}
	return dst[:0], src, nil
}
