// Package xz unpacks .xz files as kernel modules come in: one or more streams
// of LZMA2 blocks. [Decoder] unpacks a file that is in memory, [Reader] single
// pieces of one that is not.
//
// A file is a row of streams with zero bytes between and after them, 4 at a
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

import "math"

// A Decoder unpacks whole files. The zero value is ready; it keeps about 100 KiB
// from call to call. It must not be used by two goroutines at a time.
type Decoder struct {
	src    source
	out    []byte // what was there, then what is unpacked
	start  int    // length of what was there
	limit  int    // of out
	max    int64  // limit as the caller said it
	blocks []record
	index  []record
	lzma   lzma
}

// DecodeAll appends what src unpacks to, which must not be more than limit
// bytes, to dst. Bytes between the length and the capacity of the result may be
// overwritten. The result is nil on errors, which are of type [*FormatError],
// and only then.
//
// The sizes that src claims are no reason to allocate much: room is made for
// the size in the last index when that is at most 64 times the input, else for
// twice what was really unpacked and the chunk that comes next (at most 2 MiB);
// never for more than limit.
func (d *Decoder) DecodeAll(dst, src []byte, limit int64) ([]byte, error) {
	d.begin(dst, src, limit)
	defer d.end()
	if n := d.src.claim(&d.index); n <= 64*int64(len(src)) && n <= d.max {
		d.grow(len(dst) + int(n))
	}
	for off := 0; ; {
		next, err := d.stream(off)
		if err != nil {
			return nil, err
		}
		if off, err = d.src.padding(next); err != nil {
			return nil, err
		}
		if off == len(src) {
			break
		}
	}
	if d.out == nil {
		return []byte{}, nil
	}
	return d.out, nil
}

func (d *Decoder) begin(dst, src []byte, limit int64) {
	d.src, d.out, d.start = src, dst, len(dst)
	d.max = max(limit, 0)
	d.limit = len(dst) + int(min(d.max, int64(math.MaxInt-len(dst))))
}

// end forgets the caller's slices.
func (d *Decoder) end() { d.src, d.out, d.lzma.dict = nil, nil, nil }

// grow makes room for n bytes in all.
func (d *Decoder) grow(n int) {
	if n > cap(d.out) {
		d.out = append(make([]byte, 0, n), d.out...)
	}
}

// room makes room for n bytes more, needed by what is at off.
func (d *Decoder) room(n, off int) error {
	if n > d.limit-len(d.out) {
		return tooLarge(off, d.max)
	}
	if need := len(d.out) + n; need > cap(d.out) {
		d.grow(min(2*need, d.limit))
	}
	return nil
}

// stream unpacks the stream at off and returns the offset behind it. Index and
// footer must tell what was found.
func (d *Decoder) stream(off int) (next int, err error) {
	c, err := d.src.streamHeader(off)
	if err != nil {
		return 0, err
	}
	off += headerSize
	d.blocks = d.blocks[:0]
	for {
		b, err := d.src.at(off, 1, "block or index")
		if err != nil {
			return 0, err
		}
		if b[0] == 0 {
			break
		}
		rec, next, err := d.block(off, c)
		if err != nil {
			return 0, err
		}
		d.blocks = append(d.blocks, rec)
		off = next
	}
	return d.tail(off, c)
}

// tail checks index and footer.
func (d *Decoder) tail(off int, c check) (next int, err error) {
	index, next, err := d.src.index(off, d.index[:0])
	if err != nil {
		return 0, err
	}
	d.index = index
	if len(index) != len(d.blocks) {
		return 0, damaged(off, "index lists %d blocks, there are %d", len(index), len(d.blocks))
	}
	for i, r := range index {
		if r != d.blocks[i] {
			return 0, damaged(off, "index lists other sizes than block %d has", i+1)
		}
	}
	f, err := d.src.footer(next)
	if err != nil {
		return 0, err
	}
	if f.indexSize != int64(next-off) {
		return 0, damaged(next+4, "stream footer tells an index of %d bytes, it has %d", f.indexSize, next-off)
	}
	if f.check != c {
		return 0, damaged(next+8, "stream footer has other flags than the header")
	}
	return next + footerSize, nil
}

// block unpacks the block at off.
//
//	header | LZMA2 data | 00... to a multiple of 4 | check
func (d *Decoder) block(off int, c check) (rec record, next int, err error) {
	h, err := d.src.blockHeader(off)
	if err != nil {
		return rec, 0, err
	}
	data, start := off+h.size, len(d.out)
	end, err := d.chunks(data, h.dictSize)
	if err != nil {
		return rec, 0, err
	}
	rec.unpacked = int64(len(d.out) - start)
	if h.packed >= 0 && h.packed != int64(end-data) {
		return rec, 0, damaged(off, "block header tells %d packed bytes, there are %d", h.packed, end-data)
	}
	if h.unpacked >= 0 && h.unpacked != rec.unpacked {
		return rec, 0, damaged(off, "block header tells %d unpacked bytes, there are %d", h.unpacked, rec.unpacked)
	}
	pad, err := d.src.at(end, pad4(end-off), "block padding")
	if err != nil {
		return rec, 0, err
	}
	if !zero(pad) {
		return rec, 0, damaged(end, "block padding is not zero")
	}
	sum, err := d.src.at(end+len(pad), c.size(), "block check")
	if err != nil {
		return rec, 0, err
	}
	if !c.matches(d.out[start:], sum) {
		return rec, 0, damaged(end+len(pad), "check of the block does not match what it unpacks to")
	}
	rec.unpadded = int64(end - off + c.size())
	return rec, end + len(pad) + c.size(), nil
}
