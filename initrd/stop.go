package initrd

import (
	"bytes"
	"errors"
	"fmt"
)

// A StopError is where the kernel would stop unpacking, or where the image
// cannot be read any further.
type StopError struct {
	Rule    string // one of the Rule constants; "" when the image cannot be read
	Segment int    // index of the segment, counted from 0
	Offset  int64  // in the image, or in the decompressed bytes of the segment
	Packed  bool   // the offset is one in decompressed bytes
	Path    string // of the entry, if it is one
	Kernel  string // what the kernel says; "" if it says nothing or it is not known
	Err     error

	part entryPart
}

// entryPart is where in an entry an archive is cut off.
type entryPart int

const (
	inHeader entryPart = iota // or in the name
	inData
	inPadding // behind the data
)

func (e *StopError) Error() string {
	place := fmt.Sprintf("offset %d", e.Offset)
	if e.Packed {
		place = fmt.Sprintf("segment %d, offset %d of its decompressed bytes", e.Segment+1, e.Offset)
	}
	if e.Path != "" {
		place += fmt.Sprintf(": %.200s", e.Path)
	}
	return fmt.Sprintf("image: %s: %v", place, e.Err)
}

func (e *StopError) Unwrap() error { return e.Err }

func (r *Reader) stop(at int64, rule, text, kernel string) error {
	return &StopError{Rule: rule, Segment: len(r.segs) - 1, Offset: at, Packed: r.body != nil, Kernel: kernel, Err: errors.New(text)}
}

// failed is for what is no entry: the image cannot be read or decompressed.
func (r *Reader) failed(at int64, err error) *StopError {
	e := &StopError{Segment: len(r.segs) - 1, Offset: at, Packed: r.body != nil, Err: err}
	if len(r.segs) > 0 && r.segment().Method != None {
		e.Rule, e.Kernel = explain(r.segment().Method, err)
	}
	return e
}

// stopEntry is stop at the current entry.
func (r *Reader) stopEntry(rule, text, kernel string) *StopError {
	return &StopError{Rule: rule, Segment: r.cur.Segment, Offset: r.cur.Offset, Packed: r.body != nil, Path: r.cur.Name, Kernel: kernel, Err: errors.New(text)}
}

// within is for an error inside the current entry; nil stays nil.
func (r *Reader) within(err error, part entryPart) error {
	if err == nil {
		return nil
	}
	e := r.failed(r.cur.Offset, err)
	e.Path, e.part = r.cur.Name, part
	switch {
	case err != errCutOff:
	case r.body != nil:
		e.Rule, e.Kernel = RuleFrameEnd, frameEnd
	default:
		e.Rule, e.Kernel = RuleCutOff, ""
	}
	return e
}

// unknownMagic says what it is that neither an archive nor a known compression
// begins with.
func unknownMagic(head []byte) (rule, text string) {
	switch {
	case bytes.HasPrefix(head, []byte("\x04\x22\x4d\x18")):
		return RuleLZ4Frame, "it is in lz4's frame format, the kernel knows only the legacy one"
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return RuleSkippable, "the kernel knows no skippable zstd frames"
	}
	return RuleMagic, fmt.Sprintf("%q begins neither an archive nor compressed data", head)
}
