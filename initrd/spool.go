package initrd

import (
	"bufio"
	"fmt"
	"io"
)

// Spool is where the contents of files from a stream wait until the image is
// written. What is written goes behind what is there; an [*os.File] opened to
// read and write is one.
type Spool interface {
	io.WriteSeeker
	io.ReaderAt
}

// Limits of what one stream may bring: it is not known beforehand how much that
// is, and a small compressed file can be very much.
const (
	maxEntries  = 1 << 20
	maxContents = 64 << 30 // bytes in all files together
)

// spooler writes contents into a spool, through a buffer.
type spooler struct {
	to  Spool
	buf *bufio.Writer
	at  int64 // where the next content begins

	limit, left int64 // bytes that may come in all, and still
	through     []byte
}

func newSpooler(to Spool, limit int64) (*spooler, error) {
	at, err := to.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", reason(err))
	}
	return &spooler{to: to, buf: bufio.NewWriterSize(to, 256<<10), at: at, limit: limit, left: limit, through: make([]byte, 32<<10)}, nil
}

// room gives what opens the next content, of size bytes, once [spooler.copy] and
// [spooler.flush] have been called.
func (s *spooler) room(size int64) (func() (io.ReadCloser, error), error) {
	if size > s.left {
		return nil, fmt.Errorf("the files have more than %d bytes together", s.limit)
	}
	at := s.at
	return func() (io.ReadCloser, error) { return content{io.NewSectionReader(s.to, at, size)}, nil }, nil
}

// copy writes a content of size bytes.
func (s *spooler) copy(r io.Reader, size int64) error {
	n, err := io.CopyBuffer(spoolWriter{s.buf}, io.LimitReader(r, size), s.through)
	s.at += n
	s.left -= n
	if err == nil && n < size {
		err = errCutOff
	}
	return err
}

func (s *spooler) flush() error {
	if err := s.buf.Flush(); err != nil {
		return fmt.Errorf("spool: %w", reason(err))
	}
	return nil
}

// spoolWriter tells that it is the spool that failed, not what is read.
type spoolWriter struct{ w *bufio.Writer }

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = fmt.Errorf("spool: %w", reason(err))
	}
	return n, err
}

// content is a part of a spool, opened.
type content struct{ *io.SectionReader }

func (content) Close() error { return nil }
