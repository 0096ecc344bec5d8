package initrd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdMaxWindow is the largest window that the kernel's libzstd takes.
	zstdMaxWindow = 1 << 27

	zstdMaxBlock = 128 << 10
	zstdMagic    = 0xfd2fb528

	// zstdAhead is how much of a frame is looked at to find whether it is too
	// small to need the window that it claims.
	zstdAhead = 256 << 10
)

var errZstdWindow = errors.New("window")

func (d *decompressor) zstd(br *bufio.Reader) error {
	f := &zstdFrame{br: br}
	if err := f.open(); err != nil {
		return err
	}
	d.facts.dictSize, d.facts.sizeKnown, d.facts.hasChecksum = f.window, f.sized, f.summed
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	d.close = z.Close
	d.r = zstdReader{z, f}
	return nil
}

// zstdReader prefers what the frame found: the decoder names it less well.
type zstdReader struct {
	z *zstd.Decoder
	f *zstdFrame
}

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	switch {
	case err == nil || err == io.EOF && r.f.err == io.EOF:
	case r.f.err != nil && r.f.err != io.EOF:
		err = r.f.err
	case err == io.EOF:
		err = errors.New("the decoder stopped early")
	default:
		err = fmt.Errorf("before byte %d: %w", r.f.off, err)
	}
	return n, err
}

// zstdFrame gives the bytes of one frame and no more, since the decoder would
// read on to the frames behind (RFC 8878, 3.1.1; numbers are little-endian):
//
//	magic | descriptor | [window] | [dictionary id] | [content size]
//	block header of 3 bytes: bit 0 last, bits 1-2 type, then size | block
//	...
//	[checksum of 4 bytes]
//
// A frame that turns out small gets a header with a smaller window: zstd -22
// claims 128 MiB for anything that comes through a pipe.
type zstdFrame struct {
	br   *bufio.Reader
	off  int64  // of br in the frame
	buf  []byte // read
	at   int    // what of buf has been given
	last bool   // the last block has been read
	err  error  // io.EOF when the frame has been read

	window, size  uint64
	sized, summed bool // size is told; a checksum follows
	most          uint64
}

func (f *zstdFrame) open() error {
	if err := f.header(); err != nil {
		return err
	}
	if f.window > zstdMaxWindow {
		return fmt.Errorf("%w of %d bytes, at most %d are possible", errZstdWindow, f.window, zstdMaxWindow)
	}
	header := len(f.buf)
	for f.err == nil && len(f.buf) < zstdAhead {
		f.err = f.block()
	}
	if f.err != nil && f.most < f.window {
		f.buf = append(f.smallHeader(), f.buf[header:]...)
	}
	return nil
}

// header reads the header of the frame into buf.
func (f *zstdFrame) header() error {
	b, err := f.more(5, "header")
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != zstdMagic {
		return errors.New("no magic")
	}
	flags := b[4]
	f.summed = flags&4 != 0
	single := flags&0x20 != 0
	if flags&8 != 0 {
		return errors.New("reserved bit in the header")
	}
	if !single {
		if b, err = f.more(1, "header"); err != nil {
			return err
		}
		f.window = 1 << (10 + b[0]>>3)
		f.window += f.window / 8 * uint64(b[0]&7)
	}
	if b, err = f.more([4]int{0, 1, 2, 4}[flags&3], "header"); err != nil {
		return err
	}
	for _, id := range b {
		if id != 0 {
			return errors.New("needs a dictionary")
		}
	}
	sizeBytes := [4]int{0, 2, 4, 8}[flags>>6]
	if sizeBytes == 0 && single {
		sizeBytes = 1
	}
	if b, err = f.more(sizeBytes, "header"); err != nil {
		return err
	}
	var size [8]byte
	copy(size[:], b)
	f.size, f.sized = binary.LittleEndian.Uint64(size[:]), sizeBytes > 0
	if sizeBytes == 2 {
		f.size += 256
	}
	if single {
		f.window = f.size
	}
	return nil
}

// smallHeader has no window larger than what the blocks can give.
func (f *zstdFrame) smallHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	flags := byte(0)
	if f.summed {
		flags |= 4
	}
	if f.sized {
		flags |= 0xc0
	}
	log := bits.Len64(max(f.most, zstdMaxBlock) - 1)
	b = append(b, flags, byte(log-10)<<3)
	if f.sized {
		b = binary.LittleEndian.AppendUint64(b, f.size)
	}
	return b
}

// block reads a block, or what ends the frame.
func (f *zstdFrame) block() error {
	if f.last {
		if f.summed {
			if _, err := f.more(4, "checksum"); err != nil {
				return err
			}
		}
		return io.EOF
	}
	b, err := f.more(3, "block header")
	if err != nil {
		return err
	}
	h := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	f.last = h&1 != 0
	size := h >> 3
	if size > zstdMaxBlock {
		return fmt.Errorf("block of %d bytes before byte %d", size, f.off)
	}
	packed := size
	switch h >> 1 & 3 {
	case 0:
		f.most += uint64(size)
	case 1: // one byte, repeated
		f.most += uint64(size)
		packed = 1
	case 2:
		f.most += zstdMaxBlock
	default:
		return fmt.Errorf("block of unknown type before byte %d", f.off)
	}
	_, err = f.more(packed, "block")
	return err
}

// more reads n bytes more into buf and returns them.
func (f *zstdFrame) more(n int, what string) ([]byte, error) {
	start := len(f.buf)
	f.buf = append(f.buf, make([]byte, n)...)
	got, err := io.ReadFull(f.br, f.buf[start:])
	f.off += int64(got)
	f.buf = f.buf[:start+got]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("part of the %s is missing at byte %d: %w", what, f.off, io.ErrUnexpectedEOF)
	}
	return f.buf[start:], err
}

func (f *zstdFrame) Read(p []byte) (int, error) {
	if f.at == len(f.buf) {
		f.buf, f.at = f.buf[:0], 0
		if f.err == nil {
			f.err = f.block()
		}
	}
	if f.at == len(f.buf) {
		return 0, f.err
	}
	n := copy(p, f.buf[f.at:])
	f.at += n
	return n, nil
}
