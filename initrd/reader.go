package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// reader reads the entries of one uncompressed newc archive, as a stream and
// in little memory whatever the input claims. It reads what the kernel reads,
// digits of either case and names padded with zero bytes among it, and fails
// where the kernel fails; and it fails on an archive that is cut off, which
// the kernel takes for complete.
type reader struct {
	br   *bufio.Reader
	off  int64  // of the next byte from the start of the archive
	data int64  // bytes of the current entry's data still to come
	pad  int64  // bytes of padding after them
	cur  header // the current entry's, in the end the trailer's
	sum  uint32 // of its data bytes so far
	err  error  // the last word: io.EOF after the trailer

	fixed [headerLen]byte // of the header being read
	name  [maxName]byte
}

func newReader(r io.Reader) *reader {
	return &reader{br: bufio.NewReaderSize(r, 64<<10)}
}

// next goes to the next entry, past what is left of the current one's data.
// It returns io.EOF at the trailer, and after that.
func (r *reader) next() (*header, error) {
	if r.err == nil {
		r.err = r.advance()
	}
	if r.err != nil {
		return nil, r.err
	}
	h := r.cur
	return &h, nil
}

func (r *reader) advance() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if err := r.skip(r.pad); err != nil {
		return err
	}
	at := r.off
	h, err := r.header()
	if err != nil {
		return fmt.Errorf("newc: header at offset %d: %w", at, err)
	}
	r.cur, r.sum = h, 0
	if h.name == trailer {
		if h.size != 0 {
			return fmt.Errorf("newc: header at offset %d: the trailer has %d bytes of data", at, h.size)
		}
		return io.EOF
	}
	r.data, r.pad = int64(h.size), padding(int64(h.size))
	return nil
}

// header reads fixed part, name and padding.
func (r *reader) header() (header, error) {
	if err := r.full(r.fixed[:]); err != nil {
		return header{}, err
	}
	h, size, err := parseHeader(&r.fixed)
	if err != nil {
		return header{}, err
	}
	switch {
	case size == 0:
		return header{}, errors.New("name size 0")
	case size > maxName:
		return header{}, fmt.Errorf("name size %d is beyond %d", size, maxName)
	}
	name := r.name[:size]
	if err := r.full(name); err != nil {
		return header{}, err
	}
	if name[size-1] != 0 {
		return header{}, errors.New("the name does not end in a zero byte")
	}
	h.name = nameOf(name)
	return h, r.skip(padding(headerLen + int64(size)))
}

// nameOf cuts a name at its first zero byte, as the kernel does.
func nameOf(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

// Read reads the data of the current entry.
func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.data == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.data {
		p = p[:r.data]
	}
	k, err := r.br.Read(p)
	r.off += int64(k)
	r.data -= int64(k)
	if r.cur.crc {
		for _, b := range p[:k] {
			r.sum += uint32(b)
		}
	}
	switch {
	case err != nil:
		r.err = fmt.Errorf("newc: %s: data at offset %d: %w", r.cur.name, r.off, cutOff(err))
	case r.data == 0 && r.cur.crc && r.sum != r.cur.check:
		r.err = fmt.Errorf("newc: %s: the data's checksum is %08x, the header says %08x", r.cur.name, r.sum, r.cur.check)
	}
	return k, r.err
}

func (r *reader) full(p []byte) error {
	k, err := io.ReadFull(r.br, p)
	r.off += int64(k)
	return cutOff(err)
}

func (r *reader) skip(n int64) error {
	k, err := r.br.Discard(int(n)) // n is padding: at most 3
	r.off += int64(k)
	return cutOff(err)
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
