package xz

import "errors"

// unpacking is a block of which some is unpacked:
//
//	header | LZMA2 data | 00... to a multiple of 4 | check
type unpacking struct {
	block
	src       source // its bytes
	header    blockHeader
	start     int   // of what it unpacks to in the output
	next      int64 // where the next chunk begins
	base      int   // where the dictionary begins in the output, -1 before there is one
	needProps bool  // the dictionary was reset, the properties not yet
	doubtful  bool  // there was a chunk that only the check proves, see upTo
	ended     bool  // all is unpacked, and the check is right
}

// begin reads the header of the block b, whose bytes are src. What it unpacks to
// will be appended to dst.
func (d *Decoder) begin(dst, src []byte, b block) error {
	d.block = unpacking{block: b, src: src, start: len(dst), base: -1}
	d.out, d.limit = dst, len(dst)+int(b.unpacked)
	h, err := d.block.src.blockHeader()
	d.block.header, d.block.next = h, h.size
	return b.place(err)
}

// upTo goes on until the output has n bytes or the block ends; then the check is
// compared. Without it, what is unpacked can be trusted where it comes from LZMA:
// a chunk must end with a code of 0 at its last byte, and damage does not come out
// there. This does not prove the size that a chunk unpacks to when its last byte
// costs nothing, as more such bytes would not; nor anything of a stored chunk. Then
// the block is unpacked to its end.
func (d *Decoder) upTo(n int) error {
	u := &d.block
	for !u.ended && (len(d.out) < n || u.doubtful) {
		c, next, err := u.src.chunk(u.next)
		switch {
		case err != nil:
		case c.control == 0:
			err = d.end(next)
		default:
			err = d.chunk(c)
		}
		if err != nil {
			return u.place(err)
		}
		u.next = next
	}
	return nil
}

// place tells an error of the block as one of the file.
func (b block) place(err error) error {
	if errors.Is(err, ErrTruncated) || errors.Is(err, ErrLimit) {
		return damaged(b.off, "block has other sizes than the index lists")
	}
	return shift(err, b.off)
}

// chunk unpacks a chunk. The output since the last reset is the dictionary: it
// is never copied.
func (d *Decoder) chunk(c chunk) error {
	u := &d.block
	if c.resetsDict() {
		u.base, u.needProps = len(d.out), true
	}
	if u.base < 0 {
		return damaged(u.next, "first LZMA2 chunk does not reset the dictionary")
	}
	if c.hasProps() {
		u.needProps = false
	}
	if c.isLZMA() && u.needProps {
		return damaged(u.next, "LZMA2 chunk has no properties after a reset of the dictionary")
	}
	if err := d.room(c.unpacked); err != nil {
		return err
	}
	if c.isLZMA() {
		err := d.lzmaChunk(c)
		u.doubtful = u.doubtful || d.lzma.loose
		return err
	}
	u.doubtful = true
	d.out = append(d.out, c.data...)
	return nil
}

// end looks at the sizes and at what follows the LZMA2 data, which ends at end.
func (d *Decoder) end(end int64) error {
	u, h := &d.block, &d.block.header
	packed, unpacked, sumSize := end-h.size, int64(len(d.out)-u.start), u.check.size()
	if u.unpadded != end+sumSize || u.unpacked != unpacked {
		return damaged(0, "block has other sizes than the index lists")
	}
	if h.packed >= 0 && h.packed != packed || h.unpacked >= 0 && h.unpacked != unpacked {
		return damaged(0, "block has other sizes than its header tells")
	}
	sumAt := int64(len(u.src)) - sumSize
	if err := u.src[:sumAt].padding(end, "block"); err != nil {
		return err
	}
	if !u.check.matches(d.out[u.start:], u.src[sumAt:]) {
		return damaged(sumAt, "check of the block does not match what it unpacks to")
	}
	u.ended = true
	return nil
}
