package initrd

import (
	"bufio"
	"io"
)

// unpack decompresses a stream, if its first bytes are those of a method.
func unpack(br *bufio.Reader) (io.ReadCloser, error) {
	magic, _ := br.Peek(4) // a shorter one has no magic
	switch {
	case len(magic) >= 2 && string(magic[:2]) == "\x1f\x8b":
		return Compression{Method: Gzip}.reader(br)
	case string(magic) == "\x28\xb5\x2f\xfd":
		return Compression{Method: Zstd}.reader(br)
	}
	return io.NopCloser(br), nil
}
