package xz

import (
	"errors"
	"fmt"
	"io"
)

// Kinds of trouble, for [errors.Is].
var (
	// ErrFormat: the bytes do not follow the format, or a checksum tells that
	// they were damaged.
	ErrFormat = errors.New("damaged xz data")
	// ErrTruncated: the data ends before the format does.
	ErrTruncated = errors.New("xz data is cut off")
	// ErrUnsupported: valid, but of a kind that this package does not unpack: a
	// filter other than LZMA2, or flags that have no meaning yet.
	ErrUnsupported = errors.New("unsupported xz data")
	// ErrLimit: the data unpacks to more than the limit that the caller set.
	ErrLimit = errors.New("xz data is too large unpacked")
)

// A FormatError tells what is wrong with packed data and where.
type FormatError struct {
	Kind   error  // one of the Err… values of this package
	Offset int64  // byte offset in the packed data
	Text   string // what was found
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d", e.Kind, e.Text, e.Offset)
}

// Unwrap lets errors.Is see the kind.
func (e *FormatError) Unwrap() error { return e.Kind }

// Is tells that data which is cut off is an [io.ErrUnexpectedEOF] too.
func (e *FormatError) Is(target error) bool {
	return target == io.ErrUnexpectedEOF && e.Kind == ErrTruncated
}

func fail(kind error, off int64, format string, args ...any) error {
	return &FormatError{Kind: kind, Offset: off, Text: fmt.Sprintf(format, args...)}
}

func damaged(off int64, format string, args ...any) error {
	return fail(ErrFormat, off, format, args...)
}

// shift moves the place of an error that was found in a piece of the file.
func shift(err error, by int64) error {
	var f *FormatError
	if errors.As(err, &f) {
		f.Offset += by
	}
	return err
}
