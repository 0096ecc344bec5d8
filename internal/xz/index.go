package xz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// index lists the blocks of a file, as the indexes of its streams do.
type index struct {
	blocks []block
	size   int64  // of all, unpacked
	buf    []byte // the piece of the file that is looked at
}

// A block is a piece that unpacks without the others.
type block struct {
	check    check
	off      int64 // in the file
	unpadded int64 // size in the file, without the bytes that make it a multiple of 4
	at       int64 // in the unpacked bytes
	unpacked int64 // size there
}

func (b block) padded() int64 { return (b.unpadded + 3) &^ 3 }

// open looks the blocks up in the file r. It walks the streams from the last to
// the first. The blocks take up to 64 times the memory of their index.
func (x *index) open(r io.ReaderAt, size int64) error {
	x.blocks, x.size = x.blocks[:0], 0
	if b, err := x.read(r, 0, min(size, headerSize)); err != nil {
		return err
	} else if _, err = b.streamHeader(); err != nil {
		return err
	}
	for end := size; end > 0; {
		var err error
		if end, err = x.padding(r, end); err != nil {
			return err
		}
		if end, err = x.stream(r, end); err != nil {
			return err
		}
	}
	slices.Reverse(x.blocks)
	for i := range x.blocks {
		b := &x.blocks[i]
		b.at = x.size
		if b.unpacked > math.MaxInt64-x.size {
			return damaged(b.off, "index lists more than 2^63 bytes")
		}
		x.size += b.unpacked
	}
	return nil
}

// read reads n bytes of the file, which is so long that they are there. They
// are valid until the next call.
func (x *index) read(r io.ReaderAt, off, n int64) (source, error) {
	x.buf = slices.Grow(x.buf[:0], int(n))[:n]
	if got, err := r.ReadAt(x.buf, off); int64(got) < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %d bytes at byte %d: %w", n, off, err)
	}
	return x.buf, nil
}

// padding returns the end of the stream whose padding ends at end. The first
// bytes of the file are known to be no padding.
func (x *index) padding(r io.ReaderAt, end int64) (int64, error) {
	const step = 1 << 10
	for rest := end; rest > 0; {
		n := min(rest, step)
		b, err := x.read(r, rest-n, n)
		if err != nil {
			return 0, err
		}
		b = bytes.TrimRight(b, "\x00")
		rest -= n - int64(len(b))
		if (end-rest)%4 != 0 && bytes.HasSuffix(b, []byte(footerMagic)) {
			return 0, damaged(rest, "stream padding of %d bytes is not a multiple of 4", end-rest)
		}
		if len(b) > 0 {
			return end - (end-rest)&^3, nil
		}
	}
	return 0, damaged(0, "file has changed")
}

// stream reads what encloses the stream that ends at end. It appends the
// blocks, the last one first, and returns where the stream begins.
func (x *index) stream(r io.ReaderAt, end int64) (start int64, err error) {
	if end < headerSize+footerSize {
		return 0, fail(ErrTruncated, end, "part of the stream is missing")
	}
	end -= footerSize
	b, err := x.read(r, end, footerSize)
	if err != nil {
		return 0, err
	}
	size, c, err := b.footer()
	if err != nil {
		return 0, shift(err, end)
	}
	if size > end-headerSize {
		return 0, damaged(end+4, "stream footer tells an index of %d bytes", size)
	}
	end -= size
	if b, err = x.read(r, end, size); err != nil {
		return 0, err
	}
	first := len(x.blocks)
	if err := x.records(b, c); err != nil {
		return 0, shift(err, end)
	}
	slices.Reverse(x.blocks[first:])
	for i := range x.blocks[first:] {
		b := &x.blocks[first+i]
		if b.padded() > end-headerSize {
			return 0, damaged(end, "index lists more than there is")
		}
		end -= b.padded()
		b.off = end
	}
	start = end - headerSize
	if b, err = x.read(r, start, headerSize); err != nil {
		return 0, err
	}
	if flags, err := b.streamHeader(); err != nil {
		return 0, shift(err, start)
	} else if flags != c {
		return 0, damaged(start+6, "stream header has other flags than the footer")
	}
	return start, nil
}

// records appends the blocks that the index b of a stream lists.
//
//	00                                a block never begins so
//	number of records
//	unpadded size, unpacked size      for each block
//	00...                             to a multiple of 4
//	CRC32 of all before
func (x *index) records(b source, c check) error {
	b, err := b.summed(0, int64(len(b)), "index")
	if err != nil {
		return err
	}
	if len(b) == 0 || b[0] != 0 {
		return damaged(0, "index does not begin with 0")
	}
	count, next, err := b.number(1)
	for ; err == nil && count > 0; count-- {
		off, rec := next, block{check: c}
		if rec.unpadded, next, err = b.number(off); err == nil {
			rec.unpacked, next, err = b.number(next)
		}
		if err == nil && (rec.unpadded == 0 || rec.unpadded > math.MaxInt64-3) {
			err = damaged(off, "index lists a block of %d bytes", rec.unpadded)
		}
		x.blocks = append(x.blocks, rec)
	}
	if errors.Is(err, ErrTruncated) {
		return damaged(int64(len(b)), "index is too short for its records")
	}
	if err != nil {
		return err
	}
	if len(b)-int(next) > 3 {
		return damaged(next, "index goes on behind its records")
	}
	return b.padding(next, "index")
}
