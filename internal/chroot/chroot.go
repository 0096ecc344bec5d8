// Package chroot follows symbolic links inside a file tree the way a process
// whose root directory it is would: absolute targets start at the tree's own
// root and ".." never climbs out of it.
package chroot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxLinks is how many links one name may lead through; Linux has the same limit.
const maxLinks = 40

// ErrLoop tells that a name leads through more than 40 links.
var ErrLoop = errors.New("too many levels of symbolic links")

// Resolve returns the name, free of links, of the file that name leads to, "."
// for the root. A file that does not exist is an error that wraps
// [fs.ErrNotExist].
func Resolve(fsys fs.FS, name string) (string, error) {
	rest, real := split(name), "."
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, part)
		info, err := fs.Lstat(fsys, next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if len(rest) > 0 && !info.IsDir() {
				return "", &fs.PathError{Op: "open", Path: next, Err: errors.New("not a directory")}
			}
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: ErrLoop}
		}
		target, err := fs.ReadLink(fsys, next)
		if err != nil {
			return "", err
		}
		if target == "" {
			return "", &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("empty link: %w", fs.ErrNotExist)}
		}
		if path.IsAbs(target) {
			real = "."
		}
		rest = append(split(target), rest...)
	}
	return real, nil
}

// split cuts a name into its parts; empty ones and "." count for nothing.
func split(name string) []string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}
