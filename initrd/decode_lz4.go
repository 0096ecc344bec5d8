package initrd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

const (
	lz4Magic = 0x184c2102

	// lz4Block is what a block unpacks to at most; the kernel has room for no
	// more (lib/decompress_unlz4.c).
	lz4Block = 8 << 20

	// lz4Ratio is more than a byte of a block can unpack to: 255 in the length
	// of a match.
	lz4Ratio = 255
)

// lz4Reader unpacks lz4's legacy format, the only one that the kernel knows. It
// has neither an end nor checksums; numbers are little-endian:
//
//	magic | size, block | size, block | ... | magic | size, block | ... | 0
//
// The end is where the size would be 0, or of the file. The kernel takes up to
// three bytes before the end of the file for nothing; here they must be 0.
type lz4Reader struct {
	br     *bufio.Reader
	off    int64
	packed bytes.Buffer
	room   []byte
	given  []byte // part of room
	ended  bool   // by zeros
	err    error
}

var errLZ4Size = errors.New("block")

func (d *decompressor) lz4(br *bufio.Reader) error {
	z := &lz4Reader{br: br}
	if n, err := z.number(); err != nil {
		return err
	} else if n != lz4Magic {
		return errors.New("no magic of the legacy format")
	}
	d.r = afterRead{z, func() { d.facts.lz4Ended = z.ended }}
	return nil
}

func (z *lz4Reader) Read(p []byte) (int, error) {
	for len(z.given) == 0 && z.err == nil && len(p) > 0 {
		z.err = z.next()
	}
	n := copy(p, z.given)
	z.given = z.given[n:]
	if n == 0 && len(p) > 0 {
		return 0, z.err
	}
	return n, nil
}

// number reads four bytes.
func (z *lz4Reader) number() (uint32, error) {
	var b [4]byte
	n, err := io.ReadFull(z.br, b[:])
	z.off += int64(n)
	return binary.LittleEndian.Uint32(b[:]), err
}

// next reads a block or an end.
func (z *lz4Reader) next() error {
	size, err := z.number()
	switch {
	case err == io.ErrUnexpectedEOF && size == 0:
		return io.EOF
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("part of a block size is missing at byte %d: %w", z.off, err)
	case err != nil:
		return err
	case size == lz4Magic:
		return nil
	case size == 0:
		z.ended = true
		return io.EOF
	case int64(size) > int64(lz4.CompressBlockBound(lz4Block)):
		return fmt.Errorf("%w of %d bytes at byte %d", errLZ4Size, size, z.off)
	}
	return z.block(int64(size))
}

func (z *lz4Reader) block(size int64) error {
	start := z.off
	z.packed.Reset()
	n, err := io.CopyN(&z.packed, z.br, size) // grows with what is there
	z.off += n
	if err == io.EOF {
		return fmt.Errorf("part of a block is missing at byte %d: %w", z.off, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	if room := min(lz4Block, int(size)*lz4Ratio); len(z.room) < room {
		z.room = make([]byte, room)
	}
	got, err := lz4.UncompressBlock(z.packed.Bytes(), z.room)
	if err != nil {
		return fmt.Errorf("block at byte %d: %w", start, err)
	}
	z.given = z.room[:got]
	return nil
}
