package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/initrd/uboot"
	"github.com/kstage/kstage/internal/glob"
)

// globForm says what a GLOB operand is.
const globForm = `A GLOB without a slash matches names at any depth, one with a slash paths from the
root; * and ? match no slash, ** any number of directories. What lies below a match
is meant too.`

// openImage opens an image to be read once, from its start to its end, without the
// header of a boot loader: a file, or standard input for "-".
func openImage(ctx context.Context, name string) (io.ReadCloser, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, openError(name, err)
		}
	} else if term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("standard input is a terminal, not an image")
	}
	src, err := openedImage(ctx, name, f)
	if err != nil {
		_ = f.Close() // has only been read from
		return nil, err
	}
	return imageFile{src, f}, nil
}

// openedImage takes the boot loader's header off, if there is one.
func openedImage(ctx context.Context, name string, f *os.File) (io.ReadCloser, error) {
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = withHint(errors.New("is a directory, not an image"), "kstage pack "+name+" makes an image of it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shownName(name), err)
	}
	var src io.Reader = f
	if !info.Mode().IsRegular() { // even the first bytes may never come
		src = interruptible(ctx, f)
	}
	image, err := uboot.Open(src)
	if errors.Is(err, uboot.ErrPipe) {
		err = withHint(err, "save it to a file first")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shownName(name), err)
	}
	return interruptible(ctx, image), nil
}

func openError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no such file", name)
	}
	return err
}

// imageFile closes the file behind what is read.
type imageFile struct {
	io.ReadCloser
	f *os.File
}

func (f imageFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.f.Close()) }

// shownName is what messages call an image.
func shownName(name string) string { return cmp.Or(strings.TrimPrefix(name, "-"), "standard input") }

// eachEntry reads an image entry by entry and gives its segments.
func eachEntry(ctx context.Context, name string, do func(*initrd.Reader, *initrd.Header) error) ([]initrd.Segment, error) {
	f, err := openImage(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := initrd.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return r.Segments(), checkSegments(name, r)
		}
		if err != nil {
			return r.Segments(), fmt.Errorf("%s: %w", shownName(name), err)
		}
		if err := do(r, h); err != nil {
			return r.Segments(), err
		}
	}
}

// checkSegments tells that an image is none: zero bytes all through, if any.
func checkSegments(name string, r *initrd.Reader) error {
	if len(r.Segments()) == 0 {
		return fmt.Errorf("%s: has no archive in it, nothing but zero bytes at most", shownName(name))
	}
	return nil
}

// An unpacked image lies in a temporary file until it is closed.
type unpacked struct {
	tree     *initrd.Tree
	problems []initrd.Problem
	spool    spoolFile
}

func (u *unpacked) close() { u.spool.close() }

// maxSize is the option that limits what an image unpacks to; 0 means the default.
type maxSize struct{ byteSize }

const defaultMaxSize = 4 << 30

func (m *maxSize) add(flags *pflag.FlagSet) {
	flags.Var(&m.byteSize, "max-size", "refuse an image with more than `SIZE` bytes of contents, as in 512M (default 4G)")
}

// unpack reads an image into the tree that it unpacks to.
func (m *maxSize) unpack(ctx context.Context, name string) (*unpacked, error) {
	f, err := openImage(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := initrd.NewReader(f)
	r.MaxContents = int64(cmp.Or(m.byteSize, defaultMaxSize))
	u := new(unpacked)
	u.tree, u.problems, err = initrd.ReadImage(r, &u.spool)
	if errors.Is(err, initrd.ErrMaxContents) {
		err = withHint(err, "--max-size allows more; the contents go to a temporary file first")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", shownName(name), err)
	} else {
		err = checkSegments(name, r)
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// A pathFilter has the patterns of GLOB operands.
type pathFilter []*exclusion

func readFilter(globs []string, usage string) (pathFilter, error) {
	var f pathFilter
	for _, text := range globs {
		x, err := readExclusion(strings.TrimPrefix(text, "./"))
		if err != nil {
			return nil, &usageError{line: usage, err: fmt.Errorf("%s: %w", text, err)}
		}
		x.text = text
		f = append(f, x)
	}
	return f, nil
}

// takes tells whether a clean path is meant. Without patterns all are, and "." is
// by none.
func (f pathFilter) takes(p string) bool {
	parts, taken := strings.Split(p, "/"), len(f) == 0
	for _, x := range f {
		if p != "." && glob.Match(x.parts, parts) {
			x.used, taken = true, true
		}
	}
	return taken
}

// unused is the error for patterns that have matched nothing.
func (f pathFilter) unused() error {
	var none []string
	for _, x := range f {
		if !x.used {
			none = append(none, x.text)
		}
	}
	if len(none) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("nothing in the image matches %s", strings.Join(none, ", ")), "kstage ls lists what there is")
}

// cleanName gives the path that an entry's name means.
func cleanName(name string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+name), "/"), ".")
}

// escape makes one line of a name, as ls -b does: control characters, bytes that
// are no UTF-8 and the backslash are shown by escapes.
func escape(name string) string {
	return escapeAllBut(name, func(c rune) bool { return c != '\\' && unicode.IsPrint(c) })
}

// harmless is a message, in which foreign names may stand, fit for a terminal.
func harmless(text string) string {
	return escapeAllBut(text, func(c rune) bool { return c == '\n' || c == '\t' || unicode.IsPrint(c) })
}

func escapeAllBut(text string, plain func(rune) bool) string {
	var s strings.Builder
	for i, c := range text {
		_, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == '\\' && !plain(c):
			s.WriteString(`\\`)
		case plain(c) && (c != utf8.RuneError || n > 1):
			s.WriteRune(c)
		default:
			for _, b := range []byte(text[i : i+n]) {
				s.WriteString(escapeByte(b))
			}
		}
	}
	return s.String()
}

func escapeByte(b byte) string {
	if i := strings.IndexByte("\a\b\f\n\r\t\v", b); i >= 0 {
		return `\` + "abfnrtv"[i:i+1]
	}
	return fmt.Sprintf(`\%03o`, b)
}

// segmentText words a segment.
func segmentText(i int, s initrd.Segment) string {
	text := "segment " + strconv.Itoa(i+1) + ": "
	if s.Method == initrd.None {
		return text + fmt.Sprintf("plain, %s, %s at offset %d", count(s.Entries, "entry", "entries"), size(s.Size), s.Offset)
	}
	text += fmt.Sprintf("%s, %s, %s at offset %d, %s unpacked", s.Method, count(s.Entries, "entry", "entries"), size(s.Size), s.Offset, size(s.Unpacked))
	if s.Frames > 1 {
		text += fmt.Sprintf(", in %d frames", s.Frames)
	}
	return text
}

// segmentJSON is a segment in JSON; members are only ever added.
type segmentJSON struct {
	Kind     string `json:"kind"`    // "segment"
	Segment  int    `json:"segment"` // counted from 1
	Method   string `json:"method"`  // none, gzip, ...
	Offset   int64  `json:"offset"`  // in the image, in bytes
	Size     int64  `json:"size"`    // in the image
	Unpacked int64  `json:"unpacked"`
	Frames   int    `json:"frames"`
	Entries  int    `json:"entries"`
}

func segmentsJSON(segments []initrd.Segment) []segmentJSON {
	all := make([]segmentJSON, 0, len(segments))
	for i, s := range segments {
		all = append(all, segmentJSON{"segment", i + 1, s.Method.String(), s.Offset, s.Size, s.Unpacked, s.Frames, s.Entries})
	}
	return all
}
