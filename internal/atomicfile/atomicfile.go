// Package atomicfile replaces a file in one step: whoever opens the path sees
// the old file or the complete new one, never a part. After any failure the
// old file is untouched and nothing else is left in the directory.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Write makes or replaces the file at path with what fill writes.
//
// fill gets an empty file, open for reading and writing, that lies under an
// exclusive temporary name in path's directory; it may seek and read back what
// it wrote. When fill returns nil the file is synced to disk and renamed to
// path. When it returns an error, that error comes back unchanged and the
// temporary file is gone.
//
// The file's mode is perm whatever the umask; perm 0 asks for what any new
// file gets, 0666 less the umask, and sets no mode at all, which also works on
// file systems that have none (a FAT boot partition refuses chmod).
//
// A symbolic link at path is itself replaced, not the file it names. A path
// that leads to a device, a pipe or a directory is refused: renaming over
// /dev/null, or over the link /dev/stdout, would destroy it.
func Write(path string, perm fs.FileMode, fill func(*os.File) error) error {
	p, err := begin(path, perm)
	if err != nil {
		return err
	}
	defer p.Cleanup() // does nothing once the file is in place
	if err := fill(p.File); err != nil {
		return err
	}
	return p.replace(path)
}

// A pendingFile is not in its place yet.
type pendingFile struct{ *pending }

// begin makes a file that may replace the one at path.
func begin(path string, perm fs.FileMode) (pendingFile, error) {
	if err := replaceable(path); err != nil {
		return pendingFile{}, err
	}
	p, err := create(path)
	if err != nil {
		return pendingFile{}, fmt.Errorf("create %s: %w", path, reason(err))
	}
	if perm != 0 {
		if err := p.Chmod(perm); err != nil {
			_ = p.Cleanup() // the first error is the one to tell
			return pendingFile{}, fmt.Errorf("set the mode of %s: %w", path, reason(err))
		}
	}
	return pendingFile{p}, nil
}

// replace puts the file in its place.
func (p pendingFile) replace(path string) error {
	if err := p.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("replace %s: %w", path, reason(err))
	}
	return nil
}

// replaceable looks through symbolic links on purpose: see Write.
func replaceable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil || fi.Mode().IsRegular():
		return nil // whatever err is, creating the file will meet it too
	case fi.IsDir():
		return fmt.Errorf("create %s: is a directory", path)
	default:
		return fmt.Errorf("create %s: is not a regular file", path)
	}
}

// reason strips the temporary name, which means nothing to the reader, off an
// error of package os.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}
