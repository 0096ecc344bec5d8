package initrd

import (
	"bufio"
	"fmt"
	"io"
)

// source is a stream that knows where it is.
type source struct {
	n    counted
	br   *bufio.Reader
	base int64 // offset of the first byte
}

func newSource(r io.Reader) *source {
	s := &source{n: counted{r: r}}
	s.br = bufio.NewReaderSize(&s.n, 64<<10)
	return s
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	k, err := c.r.Read(p)
	c.n += int64(k)
	return k, err
}

// offset of the next byte.
func (s *source) offset() int64 { return s.base + s.n.n - int64(s.br.Buffered()) }

func (s *source) full(p []byte) error {
	_, err := io.ReadFull(s.br, p)
	return cutOff(err)
}

func (s *source) skip(n int64) error {
	for n > 0 {
		k, err := s.br.Discard(int(min(n, 1<<30)))
		n -= int64(k)
		if err != nil {
			return cutOff(err)
		}
	}
	return nil
}

var errCutOff = fmt.Errorf("the archive is cut off: %w", io.ErrUnexpectedEOF)

// cutOff turns the end of the input, which comes too early wherever this is
// called, into an error that says so.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCutOff
	}
	return err
}

// skipZeros stands before the first byte that is not zero, and returns it.
func (s *source) skipZeros() (byte, error) {
	for {
		c, err := s.br.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != 0 {
			return c, s.br.UnreadByte()
		}
	}
}
