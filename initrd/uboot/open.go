package uboot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/kstage/kstage/internal/fdt"
)

// Format is a kind of wrapper.
type Format uint8

// The formats. The zero Format is no wrapper.
const (
	FormatPlain Format = iota
	FormatLegacy
	FormatFIT
)

func (f Format) String() string { return [...]string{"plain", "uimage", "fit"}[f] }

// Detect tells the format from the first four bytes of an image.
func Detect(head []byte) Format {
	if len(head) >= 4 {
		switch binary.BigEndian.Uint32(head) {
		case legacyMagic:
			return FormatLegacy
		case fdt.Magic:
			return FormatFIT
		}
	}
	return FormatPlain
}

// Image is a ramdisk without its wrapper. Of a plain image only Format is set.
type Image struct {
	Format Format
	Name   string // what U-Boot prints: the name, or the description
	Arch   string // as U-Boot names it; its riscv refuses a uImage for another than "riscv"
	Time   uint32 // in seconds since 1970; 0 if it is not told
	Offset int64  // of the ramdisk from the start of the image
	Size   int64  // bytes of the ramdisk

	r      io.Reader
	read   int64
	checks []check
	err    error
}

// A check is a sum that stands in the wrapper.
type check struct {
	of, algorithm string
	hash          hash.Hash
	want          []byte
}

// ErrPipe is what [Open] says to a FIT that it cannot seek in: the names in a
// FIT stand at its end.
var ErrPipe = errors.New("fit: cannot be read from a pipe")

// Open takes the wrapper off the image in r, whichever it has; a plain image is
// returned as it is. Reading the returned Image gives the ramdisk's bytes and
// ends with an error, instead of io.EOF, if there are fewer than the wrapper
// says or their checksums differ. A legacy header is checked at once. What
// follows the ramdisk is not looked at.
//
// For a FIT, r must be an [io.ReaderAt] whose offset 0 is the start of the
// image, such as a file; otherwise the error is [ErrPipe]. The ramdisk is the
// one that the default configuration names, or if it names none the first.
// Data outside of the tree (mkimage -E) are found. Signatures are not checked.
func Open(r io.Reader) (*Image, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("image: %w", err)
	}
	switch Detect(head) {
	case FormatLegacy:
		return openLegacy(br)
	case FormatFIT:
		file, ok := r.(io.ReaderAt)
		if !ok {
			return nil, ErrPipe
		}
		if _, err := file.ReadAt(make([]byte, 1), 0); err != nil {
			return nil, ErrPipe // an *os.File may be one, too
		}
		return openFIT(file)
	}
	return &Image{r: br}, nil
}

// Read reads the ramdisk.
func (i *Image) Read(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.r.Read(p)
	i.read += int64(n)
	for _, c := range i.checks {
		c.hash.Write(p[:n])
	}
	if err == io.EOF && i.Format != FormatPlain {
		err = i.verdict()
	}
	i.err = err
	return n, err
}

// verdict is what is said at the end of the data.
func (i *Image) verdict() error {
	if i.read < i.Size {
		return fmt.Errorf("%v: ramdisk at offset %d: %w: it has %d of %d bytes", i.Format, i.Offset, errCutOff, i.read, i.Size)
	}
	for _, c := range i.checks {
		if sum := c.hash.Sum(nil); !bytes.Equal(sum, c.want) {
			return fmt.Errorf("%v: ramdisk at offset %d: %s: the %s is %x, the image says %x",
				i.Format, i.Offset, c.of, c.algorithm, sum, c.want)
		}
	}
	return io.EOF
}
