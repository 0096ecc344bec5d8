package main

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/atomicfile"
)

// indexMode is the mode of the index files.
const indexMode = 0o644

// indexSums are the sums of the files of an index, by name. Those that are not there have
// none.
type indexSums struct {
	mu   sync.Mutex
	sums map[string]depmod.Sum
}

func (s *indexSums) add(name string, sum depmod.Sum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.sums = make(map[string]depmod.Sum)
	}
	s.sums[name] = sum
}

// writing gives a file's writer that adds the sum of what it writes.
func (s *indexSums) writing(file depmod.File) func(io.Writer) error {
	return func(w io.Writer) error {
		h := sha256.New()
		if err := file.Write(io.MultiWriter(w, h)); err != nil {
			return err
		}
		s.add(file.Name, depmod.Sum(h.Sum(nil)))
		return nil
	}
}

// read reads a part of the index in dir. It is none to compare with if one of the files is
// a link or has another mode.
func (s *indexSums) read(dir string, part depmod.Part) error {
	for _, name := range depmod.IndexNames {
		if depmod.PartOf(name) != part {
			continue
		}
		f, err := atomicfile.Open(filepath.Join(dir, name), indexMode)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		s.add(name, depmod.Sum(h.Sum(nil)))
	}
	return nil
}

// sum stands for all of a part.
func (s *indexSums) sum(part depmod.Part) depmod.Sum {
	h := sha256.New()
	for _, name := range depmod.IndexNames {
		if depmod.PartOf(name) == part {
			sum := s.sums[name]
			h.Write(sum[:])
		}
	}
	return depmod.Sum(h.Sum(nil))
}
