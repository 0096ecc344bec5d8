package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// spoolFile is a temporary file that is made when something is first written to
// it, and is gone when it is closed or, where the system can do that, when the
// program ends in whatever way.
type spoolFile struct {
	f     *os.File
	named bool // the system does not remove files in use
}

func (s *spoolFile) Write(p []byte) (int, error) {
	if s.f == nil {
		if err := s.create(); err != nil {
			return 0, s.failure(err)
		}
	}
	n, err := s.f.Write(p)
	return n, s.failure(err)
}

func (s *spoolFile) create() (err error) {
	if s.f, err = os.CreateTemp("", "kstage-spool-*"); err != nil {
		return err
	}
	s.named = os.Remove(s.f.Name()) != nil
	return nil
}

// failure says where the space lies that may be lacking.
func (s *spoolFile) failure(err error) error {
	if err == nil {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return withHint(fmt.Errorf("temporary file in %s: %w", os.TempDir(), err), "TMPDIR names the directory for temporary files")
}

// Seek goes to the end, which is all it is used for.
func (s *spoolFile) Seek(offset int64, whence int) (int64, error) {
	if s.f == nil {
		return 0, nil
	}
	return s.f.Seek(offset, whence)
}

func (s *spoolFile) ReadAt(p []byte, off int64) (int, error) {
	if s.f == nil {
		return 0, io.EOF
	}
	return s.f.ReadAt(p, off)
}

func (s *spoolFile) close() {
	if s.f == nil {
		return
	}
	_ = s.f.Close() // of no more use
	if s.named {
		_ = os.Remove(s.f.Name()) // as good as it goes
	}
}
