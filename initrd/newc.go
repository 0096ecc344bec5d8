package initrd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
)

// newcWriter writes a newc archive through the cpio library and makes up for
// what that lacks. The library leaves the device numbers out, takes the magic
// of every archive from a variable that one header with a checksum changes for
// the whole process, and forgets write errors. So its header is held back,
// amended, and compared with what was meant before it goes out; and errors are
// kept here.
type newcWriter struct {
	lib *cpio.Writer
	out sink
}

func newNewcWriter(w io.Writer) *newcWriter {
	n := &newcWriter{out: sink{w: w}}
	n.lib = cpio.NewWriter(&n.out)
	return n
}

// to has what follows go to w.
func (n *newcWriter) to(w io.Writer) { n.out.w = w }

// next begins an entry; h.size bytes of data are to be written after it.
func (n *newcWriter) next(h header) error {
	n.out.hold = true
	err := n.lib.WriteHeader(&cpio.Header{
		Name:    h.name + strings.Repeat("\x00", int(h.zeros)),
		Inode:   int64(h.ino),
		Mode:    cpio.FileMode(h.mode),
		Uid:     int(h.uid),
		Guid:    int(h.gid),
		Links:   int(h.nlink),
		ModTime: time.Unix(int64(h.mtime), 0),
		Size:    int64(h.size),
	})
	return n.release(h, err)
}

// Write writes data of the current entry.
func (n *newcWriter) Write(p []byte) (int, error) {
	k, err := n.lib.Write(p)
	if n.out.err != nil {
		return k, n.out.err
	}
	return k, err
}

// flush ends the current entry with its padding.
func (n *newcWriter) flush() error {
	err := n.lib.Flush()
	if n.out.err != nil {
		return n.out.err
	}
	return err
}

// close ends the archive. It does not close the writer underneath.
func (n *newcWriter) close() error {
	n.out.hold = true
	return n.release(lastHeader(), n.lib.Close())
}

// release amends the header that was held back and lets it go. What the
// library held back besides is the padding of the data before, in front, and
// that of the name, behind.
func (n *newcWriter) release(h header, err error) error {
	held := n.out.held
	n.out.hold, n.out.held = false, held[:0]
	if n.out.err != nil {
		return n.out.err
	}
	if err != nil {
		return fmt.Errorf("newc: %s: %w", h.name, err)
	}
	start := int64(len(held)) - h.headSpace()
	if start < 0 || start > 3 {
		return fmt.Errorf("newc: %s: the cpio library wrote %d bytes of header", h.name, len(held))
	}
	amend(held[start:], h)
	if err := compare(held[start:], h); err != nil {
		return fmt.Errorf("newc: %s: %w", h.name, err)
	}
	_, err = n.out.Write(held)
	return err
}

// amend puts in what the library cannot.
func amend(b []byte, h header) {
	copy(b, magicNewc)
	putHex32(b[rdevAt:], h.rdevMajor)
	putHex32(b[rdevAt+fieldLen:], h.rdevMinor)
}

// compare makes sure that header and name say what was meant. It catches what
// fits a field of the library's but not one of the format's.
func compare(b []byte, h header) error {
	got, size, err := parseHeader((*[headerLen]byte)(b))
	if err != nil {
		return err
	}
	if size != h.nameSize() || size > maxName {
		return fmt.Errorf("the header's name size is %d", size)
	}
	got.name, got.zeros = nameOf(b[headerLen:headerLen+int(size)]), h.zeros
	if got != h {
		return errors.New("the header does not say what was meant")
	}
	return nil
}

// sink is where the library writes to. It keeps the first error for good, as
// the library does not, and takes a short write for one.
type sink struct {
	w    io.Writer
	err  error
	hold bool // put into held instead
	held []byte
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.hold {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	k, err := s.w.Write(p)
	if err == nil && k != len(p) {
		err = io.ErrShortWrite
	}
	s.err = err
	return k, err
}
