package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
)

// lister is one run of kstage ls.
type lister struct {
	*ui
	long, null bool
	filter     pathFilter
	out        *bufio.Writer
	line       []byte
}

func newLs(u *ui) *cobra.Command {
	l := &lister{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "ls IMAGE [GLOB...] [-l | -0 | --json]",
		Short:                 "List what is in an initrd",
		Long: `List the entries of an image, as they are stored and in their order: one that is
replaced by a later one is listed too. IMAGE is any initrd, plain or compressed with
gzip, zstd, xz, lz4, lzma or bzip2, of any number of segments; - is standard input.

` + globForm + `

Control characters, bytes that are no UTF-8 and backslashes in names are escaped as
ls -b escapes them, so that each entry is one line; -0 writes names as they are.
With -l the columns are type and permissions, names of the file, owner, group, size
or device number, time in UTC, name; the segments of the image are told on standard
error. --json prints an object a line: one of kind "entry" for each entry and then
one of kind "segment" for each segment.`,
		Example: `  kstage ls initrd.img
  kstage ls -l initrd.img 'lib/modules/*/kernel/drivers/net' '*.conf'
  zcat old.gz | kstage ls - --json | jq -r 'select(.size > 1e6).name'`,
		Args: operands(cobra.MinimumNArgs(1), "name the image to list, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return l.run(cmd, args) },
	}
	cmd.Flags().BoolVarP(&l.long, "long", "l", false, "list like ls -l, and tell of the segments")
	cmd.Flags().BoolVarP(&l.null, "null", "0", false, "end each name with a zero byte, and write it as it is")
	cmd.Flags().BoolVar(&l.json, "json", false, "print a JSON object for each entry and segment")
	cmd.MarkFlagsMutuallyExclusive("long", "null", "json")
	return cmd
}

func (l *lister) run(cmd *cobra.Command, args []string) (err error) {
	if l.filter, err = readFilter(args[1:], cmd.UseLine()); err != nil {
		return err
	}
	l.out = bufio.NewWriterSize(l.ui.out, 64<<10)
	segments, err := eachEntry(cmd.Context(), args[0], l.entry)
	if l.json {
		err = errors.Join(err, l.segments(segments))
	}
	if ferr := l.out.Flush(); ferr != nil {
		return ferr
	}
	if err != nil {
		return err
	}
	if l.long {
		for i, s := range segments {
			l.say("%s", segmentText(i, s))
		}
	}
	return l.filter.unused()
}

func (l *lister) segments(segments []initrd.Segment) error {
	for _, s := range segmentsJSON(segments) {
		if err := json.NewEncoder(l.out).Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) entry(r *initrd.Reader, h *initrd.Header) error {
	if !l.filter.takes(cleanName(h.Name)) {
		return nil
	}
	target, err := linkTarget(r, h)
	if err != nil {
		return err
	}
	b := l.line[:0]
	switch {
	case l.json:
		b, err = appendJSON(b, h, target)
	case l.long:
		b = appendLong(b, h, target)
	case l.null:
		b = append(append(b, h.Name...), 0)
	default:
		b = append(append(b, escape(h.Name)...), '\n')
	}
	l.line = b
	if err == nil {
		_, err = l.out.Write(b)
	}
	return err
}

// linkTarget reads where a symbolic link leads. Longer ones the kernel passes over.
func linkTarget(r *initrd.Reader, h *initrd.Header) (string, error) {
	const longest = 4096
	if h.FileMode().Type() != fs.ModeSymlink {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(r, longest))
	target, _, _ := bytes.Cut(b, []byte{0})
	return string(target), err
}

// appendLong appends what ls -l shows of a file.
func appendLong(b []byte, h *initrd.Header, target string) []byte {
	b = append(b, modeText(h.FileMode())...)
	what := strconv.FormatUint(uint64(h.Size), 10)
	if h.FileMode()&fs.ModeDevice != 0 {
		what = fmt.Sprintf("%d, %3d", h.RdevMajor, h.RdevMinor)
	}
	at := time.Unix(int64(h.ModTime), 0).UTC().Format("2006-01-02 15:04")
	b = fmt.Appendf(b, " %3d %-5d %-5d %9s %s %s", h.Links, h.UID, h.GID, what, at, escape(h.Name))
	if target != "" {
		b = append(append(b, " -> "...), escape(target)...)
	}
	return append(b, '\n')
}

// modeText is a mode as ls shows it.
func modeText(m fs.FileMode) string {
	types := map[fs.FileMode]byte{
		0: '-', fs.ModeDir: 'd', fs.ModeSymlink: 'l', fs.ModeNamedPipe: 'p', fs.ModeSocket: 's',
		fs.ModeDevice: 'b', fs.ModeDevice | fs.ModeCharDevice: 'c', fs.ModeIrregular: '?',
	}
	text := []byte(m.Perm().String())
	text[0] = types[m.Type()]
	special := func(bit fs.FileMode, at int, letter byte) {
		if m&bit == 0 {
			return
		}
		if text[at] == '-' {
			letter -= 'a' - 'A'
		}
		text[at] = letter
	}
	special(fs.ModeSetuid, 3, 's')
	special(fs.ModeSetgid, 6, 's')
	special(fs.ModeSticky, 9, 't')
	return string(text)
}

// entryJSON is an entry in JSON; members are only ever added. Strings that are no
// UTF-8 stand in base64 besides.
type entryJSON struct {
	Kind    string  `json:"kind"` // "entry"
	Name    string  `json:"name"`
	NameB64 string  `json:"name_base64,omitempty"`
	Type    string  `json:"type"` // file, directory, symlink, char, block, fifo, socket, unknown
	Mode    string  `json:"mode"` // as ls -l shows it
	Perm    string  `json:"perm"` // octal, with setuid, setgid and sticky bits
	UID     uint32  `json:"uid"`
	GID     uint32  `json:"gid"`
	Links   uint32  `json:"links"`
	Size    uint32  `json:"size"`
	Time    string  `json:"time"` // RFC 3339, UTC
	Target  *string `json:"target,omitempty"`
	// of Target, as above
	TargetB64 string  `json:"target_base64,omitempty"`
	Major     *uint32 `json:"major,omitempty"` // of a device
	Minor     *uint32 `json:"minor,omitempty"`
	Ino       uint32  `json:"ino"`
	Segment   int     `json:"segment"` // counted from 1
	Offset    int64   `json:"offset"`  // of the entry: in the image, or in the unpacked bytes of its segment
}

func appendJSON(b []byte, h *initrd.Header, target string) ([]byte, error) {
	m := h.FileMode()
	j := entryJSON{
		Kind: "entry", Name: h.Name, NameB64: notText(h.Name), Type: typeWord(m), Mode: modeText(m), Perm: fmt.Sprintf("%04o", h.Mode&0o7777),
		UID: h.UID, GID: h.GID, Links: h.Links, Size: h.Size, Time: time.Unix(int64(h.ModTime), 0).UTC().Format(time.RFC3339),
		Ino: h.Ino, Segment: h.Segment + 1, Offset: h.Offset,
	}
	if m.Type() == fs.ModeSymlink {
		j.Target, j.TargetB64 = &target, notText(target)
	}
	if m&fs.ModeDevice != 0 {
		j.Major, j.Minor = &h.RdevMajor, &h.RdevMinor
	}
	line := bytes.NewBuffer(b)
	enc := json.NewEncoder(line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(&j)
	return line.Bytes(), err
}

// notText gives the base64 form of what JSON cannot hold.
func notText(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}

// typeWord names a file's type.
func typeWord(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symlink"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "block"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "char"
	}
	return "unknown"
}
