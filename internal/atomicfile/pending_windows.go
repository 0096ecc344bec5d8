package atomicfile

import (
	"os"
	"path/filepath"
)

// pending stands in for renameio's PendingFile, which is not built on Windows.
// os.Rename replaces an existing file there as well.
type pending struct {
	*os.File
	path   string
	closed bool
	placed bool
}

func create(path string) (*pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return &pending{File: f, path: path}, nil
}

// CloseAtomicallyReplace syncs and closes the file and gives it its name.
func (p *pending) CloseAtomicallyReplace() error {
	if err := p.Sync(); err != nil {
		return err
	}
	p.closed = true
	if err := p.File.Close(); err != nil {
		return err
	}
	if err := os.Rename(p.Name(), p.path); err != nil {
		return err
	}
	p.placed = true
	return nil
}

// Cleanup removes the file unless it has been put in place.
func (p *pending) Cleanup() error {
	if p.placed {
		return nil
	}
	if !p.closed {
		p.closed = true
		p.File.Close() // the file goes away: its close error is of no use
	}
	return os.Remove(p.Name())
}
