package xz

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
)

// A StreamReader unpacks one stream of an .xz file from front to back, and
// reads nothing behind it: neither padding nor further streams. All checksums
// and sizes are looked at, but for checks whose id has no meaning.
type StreamReader struct {
	src   feed
	check check
	claim uint // largest dictionary of the blocks
	win   window
	buf   []byte // packed chunk
	err   error

	block     blockHeader
	start     int64 // of the block, -1 between blocks
	unpacked  int64 // of the block so far
	sum       hash.Hash
	needDict  bool // the next chunk must reset the dictionary
	needProps bool

	count   int64     // of the blocks
	records hash.Hash // of their sizes, to compare with the index
}

// NewStreamReader reads the header of the stream. The errors of the data are
// [*FormatError].
func NewStreamReader(br *bufio.Reader) (*StreamReader, error) {
	x := &StreamReader{src: feed{br: br}, start: -1, records: sha256.New()}
	h, err := x.src.next(headerSize, "stream header")
	if err != nil {
		return nil, err
	}
	if x.check, err = h.streamHeader(); err != nil {
		return nil, err
	}
	x.sum = x.check.hash()
	return x, nil
}

// Check is the id of the checks: 0 none, 1 CRC32, 4 CRC64, 10 SHA-256.
func (x *StreamReader) Check() byte { return byte(x.check) }

// DictSize is the size of the largest dictionary that a block so far tells.
func (x *StreamReader) DictSize() uint { return x.claim }

// Read gives what is unpacked.
func (x *StreamReader) Read(p []byte) (int, error) {
	for len(x.win.given()) == 0 && x.err == nil && len(p) > 0 {
		if x.start < 0 {
			x.err = x.blockOrIndex()
		} else {
			x.err = x.chunk()
		}
	}
	n := x.win.give(p)
	if n == 0 && len(p) > 0 {
		return 0, x.err
	}
	return n, nil
}

func (x *StreamReader) blockOrIndex() error {
	x.start = x.src.off
	b, err := x.src.next(1, "block header or index")
	if err != nil {
		return err
	}
	if b[0] == 0 {
		return x.index()
	}
	size := (int(b[0]) + 1) * 4
	x.buf = growTo(x.buf, size)
	x.buf[0] = b[0]
	if err := x.src.fill(x.buf[1:], "block header"); err != nil {
		return err
	}
	if x.block, err = source(x.buf).blockHeader(); err != nil {
		return shift(err, x.start)
	}
	x.claim = max(x.claim, x.block.dictSize)
	x.needDict, x.needProps, x.unpacked = true, true, 0
	if x.sum != nil {
		x.sum.Reset()
	}
	return nil
}

// chunk unpacks the next LZMA2 chunk.
func (x *StreamReader) chunk() error {
	at := x.src.off
	if err := x.readChunk(); err != nil {
		return err
	}
	c, _, err := source(x.buf).chunk(0)
	if err != nil {
		return shift(err, at)
	}
	if c.control == 0 {
		return x.endBlock()
	}
	if c.resetsDict() {
		x.win.restart(x.block.dictSize)
		x.needDict, x.needProps = false, true
	}
	if c.hasProps() {
		x.needProps = false
	}
	switch {
	case x.needDict:
		return damaged(at, "first LZMA2 chunk does not reset the dictionary")
	case c.isLZMA() && x.needProps:
		return damaged(at, "LZMA2 chunk has no properties after a reset of the dictionary")
	}
	x.win.room(uint(c.unpacked))
	if !c.isLZMA() {
		x.win.put(c.data)
	} else if err := x.lzmaChunk(c, at); err != nil {
		return err
	}
	x.unpacked += int64(c.unpacked)
	if x.sum != nil {
		x.sum.Write(x.win.given())
	}
	return nil
}

// readChunk reads a chunk with its header into buf.
func (x *StreamReader) readChunk() error {
	x.buf = growTo(x.buf, 6)
	b, err := x.src.next(1, "LZMA2 chunk")
	if err != nil {
		return err
	}
	c := chunk{control: b[0]}
	x.buf[0] = b[0]
	size := c.headerSize()
	if err := x.src.fill(x.buf[1:size], "header of an LZMA2 chunk"); err != nil {
		return err
	}
	if size > 1 {
		c.header(x.buf)
	}
	x.buf = append(x.buf[:size], make([]byte, c.packed)...)
	return x.src.fill(x.buf[size:], "part of an LZMA2 chunk")
}

func (x *StreamReader) lzmaChunk(c chunk, at int64) error {
	w := &x.win
	if c.hasProps() && !w.setProps(c.props) {
		return damaged(at+c.off-1, "LZMA properties %#02x", c.props)
	}
	if c.resetsState() {
		w.reset()
	}
	end := w.pos + uint(c.unpacked)
	off, what := w.unpack(w.pos, end, c.data)
	switch {
	case w.tooFar(what):
		return fail(ErrLimit, at+c.off+int64(off), "LZMA distance of %d bytes, of which %d are kept", w.reps[0]+1, uint(MaxWindow))
	case what != "":
		return damaged(at+c.off+int64(off), "%s", what)
	}
	w.pos = end
	return nil
}

// endBlock reads what follows the LZMA2 data of a block.
func (x *StreamReader) endBlock() error {
	size := x.src.off - x.start
	packed := size - x.block.size
	if x.block.packed >= 0 && x.block.packed != packed || x.block.unpacked >= 0 && x.block.unpacked != x.unpacked {
		return damaged(x.start, "block has other sizes than its header tells")
	}
	if err := x.src.padding(-size&3, "block"); err != nil {
		return err
	}
	at := x.src.off
	sum, err := x.src.next(int(x.check.size()), "check of the block")
	if err != nil {
		return err
	}
	if x.sum != nil && !isSum(x.sum, sum) {
		return damaged(at, "check of the block does not match what it unpacks to")
	}
	x.count++
	x.record(size+x.check.size(), x.unpacked)
	x.start = -1
	return nil
}

func (x *StreamReader) record(unpadded, unpacked int64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(unpadded))
	binary.LittleEndian.PutUint64(b[8:], uint64(unpacked))
	x.records.Write(b[:])
}

// index reads the index, whose first byte has been read, and the footer.
func (x *StreamReader) index() error {
	x.src.sum = crc32.NewIEEE()
	x.src.sum.Write([]byte{0})
	off := x.src.off
	count, err := x.src.number()
	if err != nil {
		return err
	}
	if count != x.count {
		return damaged(off, "index lists %d blocks, there are %d", count, x.count)
	}
	want := x.records.Sum(nil)
	x.records.Reset()
	for range count {
		unpadded, err := x.src.number()
		if err != nil {
			return err
		}
		unpacked, err := x.src.number()
		if err != nil {
			return err
		}
		x.record(unpadded, unpacked)
	}
	if string(x.records.Sum(nil)) != string(want) {
		return damaged(off, "index lists other sizes than the blocks have")
	}
	if err := x.src.padding((x.start-x.src.off)&3, "index"); err != nil {
		return err
	}
	sum := x.src.sum.Sum32()
	x.src.sum = nil
	at := x.src.off
	b, err := x.src.next(4, "checksum of the index")
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != sum {
		return damaged(at, "checksum of the index does not match")
	}
	return x.footer()
}

func (x *StreamReader) footer() error {
	at := x.src.off
	b, err := x.src.next(footerSize, "stream footer")
	if err != nil {
		return err
	}
	if string(b[10:]) != footerMagic {
		return damaged(at+10, "stream footer has no magic")
	}
	size, c, err := b.footer()
	if err != nil {
		return shift(err, at)
	}
	if size != at-x.start {
		return damaged(at+4, "stream footer tells an index of %d bytes, it has %d", size, at-x.start)
	}
	if c != x.check {
		return damaged(at+8, "stream header has other flags than the footer")
	}
	return io.EOF
}
