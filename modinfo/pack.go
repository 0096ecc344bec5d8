package modinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/kstage/kstage/internal/xz"
	"github.com/kstage/kstage/internal/zstdframe"
)

// Compression is how a module file is packed.
type Compression uint8

// The packings of module files that kmod and the kernel know.
const (
	None Compression = iota
	Gzip
	XZ
	Zstd
)

// String gives the name of the tool: none, gzip, xz, zstd.
func (c Compression) String() string {
	return [...]string{"none", "gzip", "xz", "zstd"}[c]
}

// Suffix gives the file name ending that follows .ko: "", ".gz", ".xz", ".zst".
func (c Compression) Suffix() string {
	return [...]string{"", ".gz", ".xz", ".zst"}[c]
}

// magicLen is how many bytes [Detect] wants to see; kmod refuses files that
// have fewer.
const magicLen = 6

// Detect tells the packing from a file's first bytes; six are enough.
func Detect(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return XZ
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	}
	return None
}

// unpacker holds the decoders and the buffers that are used again from file to
// file.
type unpacker struct {
	packed []byte // the file as it is
	plain  []byte // what came out of it
	gz     *gzip.Reader
	xz     xz.Decoder
	pieces xz.Reader
	zst    *zstd.Decoder
}

// unpack returns the unpacked bytes, valid until the next call. They never
// take more than limit bytes; growth follows what was really decoded.
func (u *unpacker) unpack(c Compression, r io.ReaderAt, size, limit int64) ([]byte, error) {
	packed, err := readFile(u.packed[:0], r, size)
	if cap(packed) > cap(u.packed) {
		u.packed = packed
	}
	if err != nil {
		return nil, err
	}
	src := &countingReader{r: bytes.NewReader(packed)}
	var plain []byte
	switch c {
	case Gzip:
		plain, err = u.gunzip(src, limit)
	case XZ:
		plain, err = u.xz.DecodeAll(u.plain[:0], packed, limit)
	default:
		plain, err = u.unzstd(packed, limit)
	}
	if cap(plain) > cap(u.plain) {
		u.plain = plain
	}
	return plain, packingError(err, c, src.n, limit)
}

// blocks opens an xz file of more than one block so that each is unpacked when
// it is asked for. Nil for another one, and for one with a fault, which unpack
// will tell.
func (u *unpacker) blocks(r io.ReaderAt, size, limit int64) *xz.Reader {
	if u.pieces.Reset(r, size, limit) != nil || u.pieces.Blocks() < 2 {
		return nil
	}
	return &u.pieces
}

// blockError is for an error of a block that was read as part of the image.
func blockError(err error) error {
	var block *xz.FormatError
	if errors.As(err, &block) {
		return packingError(err, XZ, block.Offset, 0)
	}
	return err
}

// packingError makes an error of a decoder one of ours.
func packingError(err error, c Compression, off, limit int64) error {
	var ours *FormatError
	var fromXZ *xz.FormatError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case errors.Is(err, xz.ErrLimit):
		return tooLarge(limit)
	case errors.As(err, &fromXZ):
		return &FormatError{Kind: ErrPacking, Offset: fromXZ.Offset, Text: fmt.Sprintf("%v: %s", fromXZ.Kind, fromXZ.Text)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Kind: ErrPacking, Offset: off, Text: c.String() + " data is cut off or damaged"}
	}
	return &FormatError{Kind: ErrPacking, Offset: -1, Text: fmt.Sprintf("%v data: %v", c, err)}
}

func (u *unpacker) gunzip(src io.Reader, limit int64) ([]byte, error) {
	if u.gz == nil {
		u.gz = new(gzip.Reader)
	}
	if err := u.gz.Reset(src); err != nil {
		return nil, err
	}
	return readAll(u.plain[:0], u.gz, limit)
}

// zstdWindow is the largest window that a zstd frame may declare. It costs
// nothing here, since the result itself serves as the window.
const zstdWindow = 1 << 31

// unzstd decodes into one slice. The size that a frame claims is believed
// only up to what its blocks can hold; beyond that the room doubles as long as
// the data really fills it.
func (u *unpacker) unzstd(packed []byte, limit int64) ([]byte, error) {
	if u.zst == nil {
		var err error
		u.zst, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, err
		}
	}
	room := max(int64(cap(u.plain)), 8*int64(len(packed)))
	var h zstd.Header
	if h.Decode(packed) == nil && h.HasFCS {
		if _, holds, _ := zstdframe.Blocks(packed[h.HeaderSize:]); h.FrameContentSize > holds {
			return nil, errors.New("the size in the header is more than the blocks can hold")
		}
		room = max(room, int64(min(h.FrameContentSize, uint64(limit))))
	}
	for {
		room = min(room, limit)
		if int64(cap(u.plain)) < room {
			u.plain = make([]byte, 0, room)
		}
		plain, err := u.zst.DecodeAll(packed, u.plain[:0:max(room, 1)])
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return plain, err
		}
		if room >= limit {
			return nil, tooLarge(limit)
		}
		room *= 2
	}
}

// readFile appends the size bytes of r to buf, or what there is of them. Room
// grows only as far as there is something to read.
func readFile(buf []byte, r io.ReaderAt, size int64) ([]byte, error) {
	const step = 1 << 20
	for have := int64(0); have < size; have = int64(len(buf)) {
		more := min(size-have, max(have, step))
		buf = slices.Grow(buf, int(more))
		n, err := r.ReadAt(buf[have:have+more], have)
		buf = buf[:have+int64(n)]
		if err != nil && err != io.EOF {
			return buf, err
		}
		if int64(n) < more {
			break
		}
	}
	return buf, nil
}

// readAll appends all of r to buf, up to limit bytes in total.
func readAll(buf []byte, r io.Reader, limit int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, int(min(max(int64(len(buf)), 64<<10), limit+1-int64(len(buf)))))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf[:0], tooLarge(limit)
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf[:0], err
		}
	}
}

func tooLarge(limit int64) error {
	return &FormatError{Kind: ErrTooLarge, Offset: -1, Text: fmt.Sprintf("it takes more than the limit of %d bytes", limit)}
}

// countingReader tells how far a decoder has read, for error messages.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
