package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// Update is Write, and leaves a file alone that has that content already, and the mode:
// who watches it sees that nothing has changed.
func Update(path string, perm fs.FileMode, fill func(io.Writer) error) (changed bool, err error) {
	u := updater{path: path, perm: perm}
	if u.old, err = Open(path, perm); err == nil {
		defer u.old.Close()
		u.state, err = u.old.Stat()
	}
	if err != nil { // whatever keeps it from being read, writing will meet it too
		return true, Write(path, perm, func(f *os.File) error { return fill(f) })
	}
	defer u.cleanup()
	if err := fill(&u); err != nil {
		return false, err
	}
	return u.end()
}

// An updater compares what is written with what the old file has, as long as it is the
// same. Then it begins a new file. So what is costly to tell is told once and kept nowhere.
type updater struct {
	path  string
	perm  fs.FileMode
	old   *os.File
	state fs.FileInfo // of old, when it was opened
	same  int64       // so many bytes
	new   *pendingFile
	room  [16 << 10]byte
}

func (u *updater) Write(b []byte) (int, error) {
	rest := b
	for u.new == nil && len(rest) > 0 {
		there := u.room[:min(len(rest), len(u.room))]
		if _, err := u.old.ReadAt(there, u.same); err != nil || !bytes.Equal(there, rest[:len(there)]) {
			if err := u.begin(); err != nil {
				return 0, err
			}
			break
		}
		u.same += int64(len(there))
		rest = rest[len(there):]
	}
	if len(rest) > 0 {
		if n, err := u.new.Write(rest); err != nil {
			return len(b) - len(rest) + n, err
		}
	}
	return len(b), nil
}

var errMeanwhile = errors.New("was changed by somebody else meanwhile")

// begin begins the new file with what the old one has so far.
func (u *updater) begin() error {
	p, err := begin(u.path, u.perm)
	if err != nil {
		return err
	}
	u.new = &p
	if _, err := io.CopyN(p.File, u.old, u.same); err != nil {
		return err
	}
	now, err := u.old.Stat()
	if err == nil && (now.Size() != u.state.Size() || !now.ModTime().Equal(u.state.ModTime())) {
		err = errMeanwhile // in place, as nothing should
	}
	if err != nil {
		return fmt.Errorf("update %s: %w", u.path, reason(err))
	}
	return nil
}

func (u *updater) end() (changed bool, err error) {
	if u.new == nil && u.same < u.state.Size() {
		err = u.begin()
	}
	if u.new == nil || err != nil {
		return false, err
	}
	return true, u.new.replace(u.path)
}

func (u *updater) cleanup() {
	if u.new != nil {
		_ = u.new.Cleanup() // does nothing once the file is in place
	}
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
