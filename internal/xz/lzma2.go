package xz

import "encoding/binary"

// A chunk is a piece of LZMA2 data. Sizes are big-endian, for once.
//
//	00                                             end of the data
//	01  unpacked-1 (2 bytes)  bytes                stored, the dictionary starts anew
//	02  unpacked-1 (2 bytes)  bytes                stored
//	1RRUUUUU  unpacked-1 (U: bits 16 to 20, then 2 bytes)
//	    packed-1 (2 bytes)  [properties]  bytes    LZMA
//
// RR is what is reset before the chunk: 0 nothing, 1 the LZMA state, 2 also the
// properties, which follow, 3 also the dictionary.
type chunk struct {
	control  byte
	props    byte
	unpacked int // 1 to 2 MiB
	packed   int // 1 to 64 KiB
	data     []byte
	off      int64 // of data in the block
}

func (c chunk) isLZMA() bool      { return c.control >= 0x80 }
func (c chunk) resetsState() bool { return c.control >= 0xa0 }
func (c chunk) hasProps() bool    { return c.control >= 0xc0 }
func (c chunk) resetsDict() bool  { return c.control >= 0xe0 || c.control == 1 }

// headerSize is 1 when nothing follows the control byte: at the end, and where
// it has no meaning.
func (c chunk) headerSize() int64 {
	switch {
	case c.hasProps():
		return 6
	case c.isLZMA():
		return 5
	case c.control == 0 || c.control > 2:
		return 1
	}
	return 3
}

// header reads what follows the control byte.
func (c *chunk) header(b []byte) {
	c.unpacked = int(binary.BigEndian.Uint16(b[1:])) + 1
	c.packed = c.unpacked
	if c.isLZMA() {
		c.unpacked += int(c.control&0x1f) << 16
		c.packed = int(binary.BigEndian.Uint16(b[3:])) + 1
	}
	if c.hasProps() {
		c.props = b[5]
	}
}

// chunk reads the chunk at off; the one of control 0 has nothing else.
func (s source) chunk(off int64) (c chunk, next int64, err error) {
	b, err := s.at(off, 1, "LZMA2 chunk")
	if err != nil || b[0] == 0 {
		return chunk{}, off + 1, err
	}
	c.control = b[0]
	size := c.headerSize()
	if size == 1 {
		return c, 0, damaged(off, "LZMA2 chunk has control byte %#02x", c.control)
	}
	if b, err = s.at(off, size, "header of an LZMA2 chunk"); err != nil {
		return c, 0, err
	}
	c.header(b)
	c.off = off + size
	c.data, err = s.at(c.off, int64(c.packed), "part of an LZMA2 chunk")
	return c, c.off + int64(c.packed), err
}

func (d *Decoder) lzmaChunk(c chunk) error {
	if c.hasProps() && !d.lzma.setProps(c.props) {
		return damaged(c.off-1, "LZMA properties %#02x", c.props)
	}
	if c.resetsState() {
		d.lzma.reset()
	}
	base := d.block.base
	pos := len(d.out) - base
	d.lzma.dict, d.lzma.dictSize = d.out[base:cap(d.out)], d.block.header.dictSize
	if at, what := d.lzma.unpack(uint(pos), uint(pos+c.unpacked), c.data); what != "" {
		return damaged(c.off+int64(at), "%s", what)
	}
	d.out = d.out[:len(d.out)+c.unpacked]
	return nil
}
