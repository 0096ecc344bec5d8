package depmod_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"testing"
	"time"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/slim"
)

// The index of all the lab's modules, stripped, is the one that kmod writes of the
// modules as they were.
func TestLabStripped(t *testing.T) {
	root, version := kotest.LabTree(t, "plain"), kotest.LabVersion(t)
	got, problems := ours(t, strippedFS{os.DirFS(root)}, version, depmod.Options{})
	compare(t, reference(t, root, version), got)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

// strippedFS has the modules of a file system stripped.
type strippedFS struct{ fs.FS }

func (s strippedFS) Open(name string) (fs.File, error) {
	if path.Ext(name) != ".ko" {
		return s.FS.Open(name)
	}
	data, err := fs.ReadFile(s.FS, name)
	if err == nil {
		data, _, err = slim.Strip(data)
	}
	return &strippedFile{Reader: bytes.NewReader(data), name: name}, err
}

// ReadLink and Lstat are those below.
func (s strippedFS) ReadLink(name string) (string, error)   { return fs.ReadLink(s.FS, name) }
func (s strippedFS) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(s.FS, name) }

type strippedFile struct {
	*bytes.Reader
	name string
}

func (f *strippedFile) Close() error               { return nil }
func (f *strippedFile) Stat() (fs.FileInfo, error) { return strippedInfo{f: f}, nil }

type strippedInfo struct {
	fs.FileInfo // for what nobody asks
	f           *strippedFile
}

func (i strippedInfo) Size() int64        { return i.f.Size() }
func (i strippedInfo) ModTime() time.Time { return time.Time{} }
