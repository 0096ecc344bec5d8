// Package xz unpacks .xz files as kernel modules come in: one or more streams
// of LZMA2 blocks. [Decoder] unpacks a file that is in memory, [Reader] single
// pieces of one that is not.
//
// A file is a row of streams, with zero bytes between and after them, 4 at a
// time; a stream is
//
//	header | block | block ... | index | footer
//
// Each block unpacks without the others; the index lists their sizes, and the
// footer says where the index begins, so that all of it is found from the end.
//
// Written from the descriptions of the formats: "The .xz File Format" 1.2.1 and
// the "LZMA specification" of the LZMA SDK. What xz -t accepts is accepted, but
// for filters other than LZMA2 (no module has them) and for a chunk whose first
// four code bytes are all FF, which the LZMA specification calls corrupt.
package xz

import (
	"bytes"
	"math"
)

// maxClaim times the input is believed when the input says how much it unpacks
// to. Modules unpack to 2 to 40 times their size.
const maxClaim = 64

// A Decoder unpacks whole files. The zero value is ready; it keeps about 100 KiB
// from call to call. It must not be used by two goroutines at a time.
type Decoder struct {
	index index
	block unpacking
	out   []byte // what was there, then what is unpacked
	limit int    // of out, for the block
	total int    // of out, for all blocks
	lzma  lzma
}

// DecodeAll appends what src unpacks to, which must not be more than limit
// bytes, to dst. Bytes between the length and the capacity of the result may be
// overwritten. The result is nil on errors, which are of type [*FormatError],
// and only then.
//
// Room is made for the size that the index tells when it is at most 64 times
// that of src, else for twice what was really unpacked and the chunk that comes
// next (at most 2 MiB); never for more than limit.
func (d *Decoder) DecodeAll(dst, src []byte, limit int64) ([]byte, error) {
	if err := d.index.open(bytes.NewReader(src), int64(len(src))); err != nil {
		return nil, err
	}
	limit = min(limit, int64(math.MaxInt-len(dst)))
	if d.index.size > limit {
		return nil, fail(ErrLimit, 0, "there are %d bytes, the limit is %d", d.index.size, limit)
	}
	d.total = len(dst) + int(d.index.size)
	if d.index.size <= maxClaim*int64(len(src)) {
		dst = grow(dst, d.total)
	}
	for _, b := range d.index.blocks {
		var err error
		if dst, err = d.whole(dst, src[b.off:b.off+b.padded()], b); err != nil {
			return nil, err
		}
	}
	if dst == nil {
		dst = []byte{}
	}
	return dst, nil
}

// grow gives dst room for n bytes in all.
func grow(dst []byte, n int) []byte {
	if n <= cap(dst) {
		return dst
	}
	return append(make([]byte, 0, n), dst...)
}

// whole appends what the block b unpacks to, whose bytes are src, to dst.
func (d *Decoder) whole(dst, src []byte, b block) ([]byte, error) {
	defer d.release()
	err := d.begin(dst, src, b)
	if err == nil {
		err = d.upTo(math.MaxInt)
	}
	if err != nil {
		return nil, err
	}
	return d.out, nil
}

// release lets the memory go that is not the decoder's own.
func (d *Decoder) release() {
	d.block, d.out, d.lzma.dict = unpacking{}, nil, nil
}

// room makes room for n more bytes.
func (d *Decoder) room(n int) error {
	if n > d.limit-len(d.out) {
		return ErrLimit
	}
	if need := len(d.out) + n; need > cap(d.out) {
		d.out = grow(d.out, min(2*need, d.total))
	}
	return nil
}
