package xz

import (
	"errors"
	"fmt"
)

// Kinds of trouble, for [errors.Is].
var (
	// ErrFormat: the bytes do not follow the format, or a checksum tells that
	// they were damaged.
	ErrFormat = errors.New("damaged xz data")
	// ErrTruncated: the data ends before the format does.
	ErrTruncated = errors.New("xz data is cut off")
	// ErrUnsupported: valid, but of a kind that this package does not decode: a
	// filter other than LZMA2, or header flags that have no meaning yet.
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

func damaged(off int, format string, args ...any) error {
	return &FormatError{Kind: ErrFormat, Offset: int64(off), Text: fmt.Sprintf(format, args...)}
}

func cutOff(off int, what string) error {
	return &FormatError{Kind: ErrTruncated, Offset: int64(off), Text: what}
}

func unsupported(off int, format string, args ...any) error {
	return &FormatError{Kind: ErrUnsupported, Offset: int64(off), Text: fmt.Sprintf(format, args...)}
}

func tooLarge(off int, limit int64) error {
	return &FormatError{Kind: ErrLimit, Offset: int64(off), Text: fmt.Sprintf("limit of %d bytes is passed", limit)}
}
