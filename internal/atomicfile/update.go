package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// Update is Write for content that can be told twice, and leaves a file alone that has
// it already, and the mode: who watches it sees that nothing has changed.
func Update(path string, perm fs.FileMode, content func(io.Writer) error) (changed bool, err error) {
	if same(path, perm, content) {
		return false, nil
	}
	return true, Write(path, perm, func(f *os.File) error { return content(f) })
}

// same compares what a file has; whatever keeps it from that, writing will meet it too.
func same(path string, perm fs.FileMode, content func(io.Writer) error) bool {
	f, err := Open(path, perm)
	if err != nil {
		return false
	}
	defer f.Close()
	c := comparer{file: f}
	return content(&c) == nil && c.ended()
}

// Open opens a file to read it if it is one that Write could have made: no link, and
// with that mode.
func Open(path string, perm fs.FileMode) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	otherMode := perm != 0 && info.Mode() != perm && runtime.GOOS != "windows" // which has no such modes
	if !info.Mode().IsRegular() || otherMode {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	return os.Open(path)
}

// A comparer takes what a file has, and fails on anything else.
type comparer struct {
	file io.Reader
	room [16 << 10]byte
}

var errOther = errors.New("the file has something else")

func (c *comparer) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		there := c.room[:min(len(b), len(c.room))]
		if _, err := io.ReadFull(c.file, there); err != nil || !bytes.Equal(there, b[:len(there)]) {
			return 0, errOther
		}
		b = b[len(there):]
	}
	return written, nil
}

func (c *comparer) ended() bool {
	n, err := c.file.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}
