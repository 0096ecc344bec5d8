package xz

import (
	"bufio"
	"bytes"
	"hash"
	"io"
)

// feed is packed data that is read from front to back.
type feed struct {
	br  *bufio.Reader
	off int64
	sum hash.Hash32 // of what is read, when there is one
	buf [64]byte
}

// fill reads all of b; what names it for the error.
func (f *feed) fill(b []byte, what string) error {
	n, err := io.ReadFull(f.br, b)
	f.off += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return f.cut(what)
	}
	if f.sum != nil {
		f.sum.Write(b)
	}
	return err
}

func (f *feed) cut(what string) error {
	return fail(ErrTruncated, f.off, "%s is missing", what)
}

// next returns the next n bytes, at most 64. They are valid until the next call.
func (f *feed) next(n int, what string) (source, error) {
	return f.buf[:n], f.fill(f.buf[:n], what)
}

// skip goes on behind n bytes that are buffered.
func (f *feed) skip(n int) {
	n, _ = f.br.Discard(n)
	f.off += int64(n)
}

// padding reads n bytes, up to 3, that must be 0.
func (f *feed) padding(n int64, what string) error {
	at := f.off
	b, err := f.next(int(n), what+" padding")
	if err == nil && len(bytes.Trim(b, "\x00")) > 0 {
		return damaged(at, "%s padding is not zero", what)
	}
	return err
}

// number reads what source.number does.
func (f *feed) number() (int64, error) {
	var b [9]byte
	at := f.off
	n := 0
	for ; n < len(b) && (n == 0 || b[n-1]&0x80 != 0); n++ {
		if err := f.fill(b[n:n+1], "number"); err != nil {
			return 0, err
		}
	}
	v, _, err := source(b[:]).number(0)
	return v, shift(err, at)
}
