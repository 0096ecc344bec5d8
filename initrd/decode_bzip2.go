package initrd

import (
	"bufio"
	"compress/bzip2"
	"fmt"
	"io"
)

// bzip2Reader unpacks one bzip2 stream.
type bzip2Reader struct {
	src bzip2Source
	r   io.Reader
}

func newBzip2(br *bufio.Reader) *bzip2Reader {
	z := &bzip2Reader{src: bzip2Source{br: br}}
	z.r = bzip2.NewReader(&z.src)
	return z
}

func (z *bzip2Reader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if err == io.ErrUnexpectedEOF || err == io.EOF && z.src.off == 0 {
		err = fmt.Errorf("data is missing at byte %d: %w", z.src.off, io.ErrUnexpectedEOF)
	} else if err != nil && err != io.EOF {
		err = fmt.Errorf("before byte %d: %w", z.src.off, err)
	}
	return n, err
}

// bzip2Source ends at the end of the stream. The decoder reads on for another
// stream behind it; the kernel does not, and what follows may be anything. The
// decoder takes single bytes and none that it does not need. So the stream has
// ended when a byte is asked for right behind
//
//	17 72 45 38 50 90 | checksum, 32 bits | 0 to 7 bits up to a whole byte
//
// which may begin at any bit. Such a row of bits elsewhere, one in 2^45 bytes by
// chance, would have the decoder report data that is cut off.
type bzip2Source struct {
	br     *bufio.Reader
	off    int64
	hi, lo uint64 // the last 16 bytes
}

const bzip2End = 0x177245385090

func (s *bzip2Source) ended() bool {
	for pad := range 8 {
		if (s.lo>>(32+pad)|s.hi<<(32-pad))&(1<<48-1) == bzip2End {
			return true
		}
	}
	return false
}

func (s *bzip2Source) ReadByte() (byte, error) {
	if s.ended() {
		return 0, io.EOF
	}
	b, err := s.br.ReadByte()
	if err == nil {
		s.off++
		s.hi, s.lo = s.hi<<8|s.lo>>56, s.lo<<8|uint64(b)
	}
	return b, err
}

// Read is not used: the decoder reads bytes.
func (s *bzip2Source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}
