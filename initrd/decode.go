package initrd

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/kstage/kstage/internal/xz"
)

// DetectMethod tells how a segment that begins with head is compressed, from
// the two bytes that the kernel looks at (lib/decompress.c). It says no to what
// the kernel does not know: plain cpio, skippable zstd frames, lz4's frame
// format. Two bytes of head are enough.
func DetectMethod(head []byte) (Method, bool) {
	if len(head) < 2 {
		return None, false
	}
	switch [2]byte(head) {
	case [2]byte{0x1f, 0x8b}, [2]byte{0x1f, 0x9e}: // the second one is refused when it comes to unpacking
		return Gzip, true
	case [2]byte{'B', 'Z'}:
		return Bzip2, true
	case [2]byte{0x5d, 0x00}:
		return LZMA, true
	case [2]byte{0xfd, '7'}:
		return XZ, true
	case [2]byte{0x89, 'L'}:
		return LZO, true
	case [2]byte{0x02, 0x21}:
		return LZ4, true
	case [2]byte{0x28, 0xb5}:
		return Zstd, true
	}
	return None, false
}

// decompressor unpacks one gzip member, zstd frame, xz stream, lzma or bzip2
// stream, or run of lz4 blocks. At io.EOF the bufio.Reader that it reads from
// stands at the first byte behind, where the kernel looks for the next segment.
// After any other error it stands anywhere.
type decompressor struct {
	r     io.Reader
	close func()
	facts streamFacts
}

// streamFacts is what a stream tells of itself that decides whether the kernel
// unpacks it. Those that the header does not tell are complete at io.EOF.
type streamFacts struct {
	method Method

	gzipFlags byte // FLG of RFC 1952: the kernel skips a name, nothing else

	xzCheck byte // 0 none, 1 CRC32, 4 CRC64, 10 SHA-256

	// dictSize is the memory that unpacking takes: the largest dictionary of
	// xz, the dictionary of lzma, the window of zstd.
	dictSize uint64

	sizeKnown   bool // zstd and lzma: the header tells the unpacked size
	hasChecksum bool // zstd: the frame ends with one

	// lzmaUnread is how many bytes at the end of the stream the kernel does
	// not read, and takes for the next segment.
	lzmaUnread int

	// lz4Ended: four zero bytes end the blocks. They have been read; the
	// kernel needs them when anything follows.
	lz4Ended bool
}

// decoder begins to unpack what br stands at, which m was detected from. It
// reads the header; br should have a buffer of at least 4 KiB, the usual. Memory
// is bounded, and grows with the data rather than with what a header claims.
// Data that ends too early gives an error that is an io.ErrUnexpectedEOF.
func decoder(m Method, br *bufio.Reader) (*decompressor, error) {
	d := &decompressor{facts: streamFacts{method: m}}
	var err error
	switch m {
	case Gzip:
		err = d.gzip(br)
	case Zstd:
		err = d.zstd(br)
	case XZ:
		err = d.xz(br)
	case LZ4:
		err = d.lz4(br)
	case LZMA:
		err = d.lzma(br)
	case Bzip2:
		d.r = newBzip2(br)
	case LZO:
		err = errors.New("not supported")
	default:
		err = errors.New("not a compression")
	}
	if err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

// explain names the method. A stream that is cut off is told as such.
func (d *decompressor) explain(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("the data is cut off: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%v: %w", d.facts.method, err)
}

// Close gives back memory. It leaves what was read from open.
func (d *decompressor) Close() error {
	if d.close != nil {
		d.close()
	}
	return nil
}

// gzip reads exactly to the end of the member because br gives single bytes.
func (d *decompressor) gzip(br *bufio.Reader) error {
	if h, err := br.Peek(4); err == nil {
		d.facts.gzipFlags = h[3]
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		return err
	}
	z.Multistream(false)
	d.r = z
	return nil
}

func (d *decompressor) xz(br *bufio.Reader) error {
	x, err := xz.NewStreamReader(br)
	if err != nil {
		return err
	}
	d.facts.xzCheck = x.Check()
	d.r = afterRead{x, func() { d.facts.dictSize = uint64(x.DictSize()) }}
	return nil
}

func (d *decompressor) lzma(br *bufio.Reader) error {
	x, err := xz.NewAloneReader(br)
	if err != nil {
		return err
	}
	d.facts.dictSize, d.facts.sizeKnown = uint64(x.DictSize()), x.Sized()
	d.r = afterRead{x, func() { d.facts.lzmaUnread = x.Unread() }}
	return nil
}

// afterRead has facts looked up that reading brings out.
type afterRead struct {
	io.Reader
	then func()
}

func (a afterRead) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.then()
	return n, err
}
