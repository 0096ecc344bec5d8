package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
)

// Limits of the format and of the kernel that unpacks it.
const (
	maxFile  = math.MaxUint32 // bytes in one file: the size field has 32 bits
	maxPath  = 4095           // bytes in a path or link target: PATH_MAX less the NUL
	maxPart  = 255            // bytes in one part of a path: NAME_MAX
	maxMajor = 1<<12 - 1      // device numbers have 12 and 20 bits
	maxMinor = 1<<20 - 1
)

// rootPath is the path of the root directory.
const rootPath = "."

// Entry is one file, directory, link or node of a tree.
type Entry struct {
	// Path is relative to the root, clean and slash separated, "usr/bin/env".
	// The root itself is ".". The bytes need not be UTF-8.
	Path string

	// Mode holds the type, the permissions and the setuid, setgid and sticky
	// bits. The permissions of a symbolic link do not matter. Sockets are not
	// allowed.
	Mode fs.FileMode

	// UID and GID own the entry.
	UID, GID uint32

	// ModTime is the modification time in seconds since 1970 that an image gave
	// the entry. Whatever it is, an image gets [Options.ModTime].
	ModTime uint32

	// Major and Minor name the device of a device node.
	Major, Minor uint32

	// Target is where a symbolic link leads.
	Target string

	// Size is the length in bytes of a regular file, at most 4 GiB - 1.
	Size int64

	// Open opens the content of a regular file, which must be exactly Size
	// bytes long. It may be nil when Size is 0.
	Open func() (io.ReadCloser, error)

	// Link, when not 0, makes the regular files that share the value names of
	// one file. They must agree in mode, owner and size; the last of them by
	// path is the one that is opened. [Tree.NewLink] gives out values.
	Link uint64
}

// File returns a regular file owned by 0:0 that holds data, such as one that
// was generated.
func File(path string, perm fs.FileMode, data []byte) Entry {
	return Entry{
		Path: path,
		Mode: perm,
		Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// check reports why e cannot be in an image.
func (e *Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if err := e.checkType(); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil
}

func (e *Entry) checkType() error {
	typ := e.Mode.Type()
	switch {
	case e.Path == rootPath && typ != fs.ModeDir:
		return errors.New("the root is a directory")
	case e.Link != 0 && typ != 0:
		return errors.New("only regular files can be hard links")
	}
	switch typ {
	case 0:
		return e.checkContent()
	case fs.ModeSymlink:
		return checkTarget(e.Target)
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		if e.Major > maxMajor || e.Minor > maxMinor {
			return fmt.Errorf("device %d:%d is beyond %d:%d", e.Major, e.Minor, maxMajor, maxMinor)
		}
		return nil
	case fs.ModeDir, fs.ModeNamedPipe:
		return nil
	}
	return fmt.Errorf("an image cannot hold %s", kindOf(e.Mode))
}

func (e *Entry) checkContent() error {
	switch {
	case e.Size < 0:
		return fmt.Errorf("size %d is negative", e.Size)
	case e.Size > maxFile:
		return fmt.Errorf("%d bytes are too many: a file in a cpio image holds at most %d", e.Size, int64(maxFile))
	case e.Size > 0 && e.Open == nil:
		return errors.New("there is no way to open the content")
	}
	return nil
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("the link leads nowhere: its target is empty")
	case strings.IndexByte(target, 0) >= 0:
		return fmt.Errorf("the link's target %q has a zero byte in it", target)
	case len(target) > maxPath:
		return fmt.Errorf("the link's target has %d bytes, at most %d are allowed", len(target), maxPath)
	}
	return nil
}

// checkPath keeps out what the kernel would drop silently (long names), what
// would end the archive, and what would leave the tree.
func checkPath(p string) error {
	switch {
	case p == rootPath:
		return nil
	case p == "":
		return errors.New("an entry has an empty path")
	case strings.IndexByte(p, 0) >= 0:
		return fmt.Errorf("path %q has a zero byte in it", p)
	case len(p) > maxPath:
		return fmt.Errorf("path %.40q... has %d bytes, at most %d are allowed", p, len(p), maxPath)
	case p == trailer:
		return fmt.Errorf("the name %s is kept for the end of the archive", trailer)
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return fmt.Errorf("path %q is not clean and relative: a part is empty, dot or dot-dot", p)
		case len(part) > maxPart:
			return fmt.Errorf("path %.40q... has a part of %d bytes, at most %d are allowed", p, len(part), maxPart)
		}
	}
	return nil
}

// kindOf names a file's type in a message.
func kindOf(m fs.FileMode) string {
	switch typ := m.Type(); {
	case typ == 0:
		return "a regular file"
	case typ == fs.ModeDir:
		return "a directory"
	case typ == fs.ModeSymlink:
		return "a symbolic link"
	case typ == fs.ModeNamedPipe:
		return "a named pipe"
	case typ == fs.ModeSocket:
		return "a socket"
	case typ&fs.ModeDevice != 0:
		return "a device"
	}
	return "a file of unknown type"
}
