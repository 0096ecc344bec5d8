package modinfo

import (
	"errors"
	"fmt"
)

// Kinds of trouble with a module file, for [errors.Is]. The drop-in depmod
// words them as kmod does, so the kinds follow kmod's distinctions.
var (
	// ErrTooShort: fewer than six bytes, too few to tell a packing.
	ErrTooShort = errors.New("file is too short to be a module")
	// ErrNotELF: the (unpacked) bytes are not an ELF file at all.
	ErrNotELF = errors.New("not an ELF file")
	// ErrMalformed: an ELF file whose structure contradicts itself.
	ErrMalformed = errors.New("malformed ELF file")
	// ErrPacking: the gzip, xz or zstd data is damaged, cut off or of a kind
	// that cannot be unpacked.
	ErrPacking = errors.New("cannot unpack")
	// ErrTooLarge: the file unpacks to more than [Reader.MaxSize] bytes.
	ErrTooLarge = errors.New("module is too large")
)

// A FormatError tells what is wrong with a module file and where.
type FormatError struct {
	Kind   error  // one of the Err… values of this package
	Offset int64  // byte offset in the unpacked file, for ErrPacking in the packed one; -1: the file as a whole
	Text   string // what was found
}

func (e *FormatError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%v: %s", e.Kind, e.Text)
	}
	return fmt.Sprintf("%v: %s at byte %d", e.Kind, e.Text, e.Offset)
}

// Unwrap lets errors.Is see the kind.
func (e *FormatError) Unwrap() error { return e.Kind }

func malformed(off uint64, format string, args ...any) error {
	return &FormatError{Kind: ErrMalformed, Offset: int64(off & (1<<63 - 1)), Text: fmt.Sprintf(format, args...)}
}
