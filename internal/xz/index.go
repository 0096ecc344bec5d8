package xz

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A record tells the sizes of a block: with header and check but without
// padding, and unpacked.
type record struct {
	unpadded, unpacked int64
}

// padded is the size of the block in the file.
func (r record) padded() int64 { return r.unpadded + 3&^3 }

// index reads the list of the blocks into recs and returns the offset behind
// it.
//
//	00                                a block header never begins so
//	number of records
//	unpadded size, unpacked size      for each block
//	00...                             to a multiple of 4
//	CRC32 of all before
func (s source) index(off int, recs []record) ([]record, int, error) {
	b, err := s.at(off, 1, "index")
	if err != nil {
		return nil, 0, err
	}
	if b[0] != 0 {
		return nil, 0, damaged(off, "index does not begin with 0")
	}
	count, next, err := s.number(off + 1)
	for ; err == nil && count > 0; count-- {
		var r record
		if r, next, err = s.record(next); err == nil {
			recs = append(recs, r)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	pad, err := s.at(next, pad4(next-off), "index padding")
	if err != nil {
		return nil, 0, err
	}
	if !zero(pad) {
		return nil, 0, damaged(next, "index padding is not zero")
	}
	next += len(pad)
	sum, err := s.at(next, 4, "index checksum")
	if err != nil {
		return nil, 0, err
	}
	if binary.LittleEndian.Uint32(sum) != crc32.ChecksumIEEE(s[off:next]) {
		return nil, 0, damaged(next, "index checksum does not match")
	}
	return recs, next + 4, nil
}

// minUnpadded is the size of the smallest block: a header of 8 bytes would do,
// the format's own bound is 5.
const minUnpadded = 5

func (s source) record(off int) (r record, next int, err error) {
	if r.unpadded, next, err = s.number(off); err != nil {
		return r, 0, err
	}
	if r.unpadded < minUnpadded || r.unpadded > math.MaxInt64-3 {
		return r, 0, damaged(off, "index lists a block of %d bytes", r.unpadded)
	}
	r.unpacked, next, err = s.number(next)
	return r, next, err
}

// claim is the unpacked size of the last stream as its index tells it, 0 if
// there is no index. It is looked up ahead of all, so nothing is sure.
func (s source) claim(scratch *[]record) (size int64) {
	end := len(s)
	for end >= 4 && zero(s[end-4:end]) {
		end -= 4
	}
	end -= footerSize
	f, err := s.footer(end)
	if err != nil || f.indexSize > int64(end) {
		return 0
	}
	recs, _, err := s.index(end-int(f.indexSize), (*scratch)[:0])
	if err != nil {
		return 0
	}
	*scratch = recs
	for _, r := range recs {
		if r.unpacked > math.MaxInt64-size {
			return 0
		}
		size += r.unpacked
	}
	return size
}
