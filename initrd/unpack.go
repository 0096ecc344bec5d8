package initrd

import (
	"bufio"
	"fmt"
	"io"
)

// unpack decompresses a stream of one or more frames, if its first bytes are
// those of a method.
func unpackAll(br *bufio.Reader) (io.ReadCloser, error) {
	magic, _ := br.Peek(2) // a shorter one has no magic
	method, packed := DetectMethod(magic)
	if !packed {
		return io.NopCloser(br), nil
	}
	z, err := decoder(method, br)
	if err != nil {
		return nil, err
	}
	return &frames{method: method, br: br, z: z}, nil
}

// frames reads compressed frames that follow one another as one stream, as the
// command-line tools do.
type frames struct {
	method Method
	br     *bufio.Reader
	z      *decompressor
}

func (f *frames) Read(p []byte) (int, error) {
	for {
		n, err := f.z.Read(p)
		if n > 0 || err != io.EOF {
			return n, err
		}
		magic, _ := f.br.Peek(2)
		if len(magic) == 0 {
			return 0, io.EOF
		}
		if m, ok := DetectMethod(magic); !ok || m != f.method {
			return 0, fmt.Errorf("something else follows the compressed data: %q", magic)
		}
		_ = f.z.Close() // has only been read from
		if f.z, err = decoder(f.method, f.br); err != nil {
			return 0, err
		}
	}
}

func (f *frames) Close() error { return f.z.Close() }
