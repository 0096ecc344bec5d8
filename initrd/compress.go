package initrd

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Method is a way to compress an image. The kernel must have it built in
// (CONFIG_RD_GZIP, CONFIG_RD_ZSTD and so on); uncompressed images always work.
type Method uint8

// The methods. The zero Method is None. LZMA and Bzip2 are only read; LZO is
// recognised and refused.
const (
	None Method = iota
	Gzip
	Zstd
	XZ
	LZ4
	LZMA
	Bzip2
	LZO
)

// methods holds each method's name, the level meant by level 0 and the
// highest; the lowest is 1.
var methods = [...]struct {
	name         string
	normal, most int
}{
	None:  {name: "none"},
	Gzip:  {"gzip", 6, 9},
	Zstd:  {"zstd", 3, 22},
	XZ:    {"xz", 6, 9},
	LZ4:   {"lz4", 1, 9},
	LZMA:  {name: "lzma"},
	Bzip2: {name: "bzip2"},
	LZO:   {name: "lzo"},
}

// canWrite tells whether images can be compressed so.
func (m Method) canWrite() bool { return m <= LZ4 }

// String is the method's name, as [ParseCompression] has it.
func (m Method) String() string {
	if int(m) >= len(methods) {
		return fmt.Sprintf("Method(%d)", uint8(m))
	}
	return methods[m].name
}

// Compression is a method with its level. The zero Compression is none.
type Compression struct {
	Method Method

	// Level weighs size against time: 1 to 22 for zstd, 1 to 9 for the
	// others, 0 for the method's usual one (gzip 6, zstd 3, xz 6, lz4 1). The
	// zstd encoder has four grades and takes the one next to the level: 1-2,
	// 3-5, 6-9, and 10 and above. Above 6, gzip takes many times as long for
	// module trees and saves nothing. The level of xz is the size of its
	// dictionary, which the kernel must have as memory: 1 MiB at 1, 8 MiB at 5
	// and 6, 64 MiB at 9, but never more than the data.
	Level int
}

// ParseCompression reads "method" or "method:level" of a method that can be
// written, for example "none", "gzip:9" or "zstd:19".
func ParseCompression(s string) (Compression, error) {
	name, level, leveled := strings.Cut(s, ":")
	var c Compression
	known := false
	for m := range methods {
		if methods[m].name == name {
			c.Method, known = Method(m), true
		}
	}
	if !known {
		return Compression{}, fmt.Errorf("compression: unknown method %q, want none, gzip, zstd, xz or lz4", name)
	}
	if !leveled {
		return c, c.check()
	}
	n, err := strconv.Atoi(level)
	if err != nil || n == 0 {
		return Compression{}, fmt.Errorf("compression: bad level %q in %q", level, s)
	}
	c.Level = n
	if err := c.check(); err != nil {
		return Compression{}, err
	}
	return c, nil
}

// String returns what [ParseCompression] reads.
func (c Compression) String() string {
	if c.Level == 0 {
		return c.Method.String()
	}
	return c.Method.String() + ":" + strconv.Itoa(c.Level)
}

func (c Compression) check() error {
	if int(c.Method) >= len(methods) {
		return fmt.Errorf("compression: unknown method %d", c.Method)
	}
	m := methods[c.Method]
	switch {
	case !c.Method.canWrite():
		return fmt.Errorf("compression: %s can only be read, want none, gzip, zstd, xz or lz4", m.name)
	case m.most == 0 && c.Level != 0:
		return fmt.Errorf("compression: %s has no levels", m.name)
	case c.Level < 0 || c.Level > m.most:
		return fmt.Errorf("compression: %s has levels 1 to %d, not %d", m.name, m.most, c.Level)
	}
	return nil
}

// writer returns a compressor of size bytes. Closing it ends the compressed
// data, but for [Compression.ending], and leaves w open. The bytes depend on input and
// level alone.
func (c Compression) writer(w io.Writer, size int64) (io.WriteCloser, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	level := c.Level
	if level == 0 {
		level = methods[c.Method].normal
	}
	switch c.Method {
	case Gzip:
		return gzipWriter(w, level)
	case Zstd:
		return zstdWriter(w, level, size)
	case XZ:
		return xzWriter(w, level, size)
	case LZ4:
		return newLZ4Writer(w, level, size)
	}
	return nopCloser{w}, nil
}

// gzipWriter writes one member whose header names no file and time 0. The
// library's zero time is not that.
func gzipWriter(w io.Writer, level int) (io.WriteCloser, error) {
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, fmt.Errorf("compression: gzip: %w", err)
	}
	z.ModTime = time.Unix(0, 0)
	return z, nil
}

// zstdWindow bounds how far back a frame refers, which is memory the kernel
// must allocate to unpack it: 8 MiB, as zstd's own levels below 20 do.
const zstdWindow = 8 << 20

// zstdWriter writes one frame that declares its size, so that the kernel need
// not allocate a whole window for a small image. The encoder runs on one core:
// two would gain little, and its way to use more ties up hundreds of MiB.
func zstdWriter(w io.Writer, level int, size int64) (io.WriteCloser, error) {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("compression: zstd: %w", err)
	}
	e.ResetContentSize(w, size)
	return e, nil
}

// ending returns what follows the last frame so that an image of n bytes ends at
// a multiple of 4, where a boot loader can append a plain archive: closing, of
// some empty frames, belongs to the compressed data, and zero bytes come after.
//
// Behind a zstd frame zero bytes would do for the kernel, but not for zstd -d.
// Blocks of lz4 go on until four zero bytes; the kernel takes the next four
// bytes for the size of a block, and fewer behind it are broken data to it.
func (c Compression) ending(n int64) (closing []byte, empty, zeros int) {
	fill := int(padding(n))
	switch c.Method {
	case Zstd:
		return bytes.Repeat(emptyZstd, fill), fill, 0
	case LZ4:
		return make([]byte, 4), 0, 4 + fill
	}
	return nil, 0, fill
}

// emptyZstd is a frame (RFC 8878, 3.1.1) of content size 0 whose one block, the
// last, is raw and empty.
var emptyZstd = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
