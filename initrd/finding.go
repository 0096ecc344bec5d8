package initrd

import (
	"fmt"
	"io"
	"strings"
)

// Severity tells what becomes of an image because of a [Finding].
type Severity uint8

// Severities. Whatever is above Note keeps the kernel from unpacking all of the image.
const (
	Note      Severity = iota // nothing is lost
	Drops                     // an entry is left out, or comes out as something else
	Truncates                 // the end of a file or archive is missing, and the kernel says nothing
	Stops                     // everything behind is lost
	Memory                    // there is too little memory
)

func (s Severity) String() string {
	return [...]string{"note", "drops", "truncates", "stops", "memory"}[s]
}

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is something about an image that decides what the kernel makes of it.
type Finding struct {
	Rule     string // one of the Rule constants
	Severity Severity
	Path     string // the entry's name
	Segment  int    // counted from 0; -1: the image as a whole
	Offset   int64  // in the image, or in the segment's decompressed bytes
	Packed   bool   // the offset is one in decompressed bytes
	Text     string // what is the matter
	Kernel   string // what the kernel says about it, if it does
	Hint     string // what to do
}

// Place says where it is, for a person to read.
func (f *Finding) Place() string {
	switch {
	case f.Segment < 0 && f.Offset == 0:
		return ""
	case f.Packed:
		return fmt.Sprintf("segment %d, offset %d of its decompressed bytes", f.Segment+1, f.Offset)
	}
	return fmt.Sprintf("offset %d", f.Offset)
}

func (f *Finding) String() string {
	s := f.Text
	if f.Path != "" {
		s = f.Path + ": " + s
	}
	if place := f.Place(); place != "" {
		s += " (" + place + ")"
	}
	return s
}

// Rules are the kinds of findings.
const (
	// Where the kernel stops.
	RuleInitrd      = "initrd"          // it takes no image at all
	RuleMethod      = "method"          // it lacks the compression
	RuleMagic       = "magic"           // what should be a segment or header is none
	RuleDigits      = "digits"          // a field of a header is no number
	RuleName        = "name"            // a name without zero byte
	RuleSum         = "checksum"        // of magic 070702
	RulePadding     = "padding"         // zero bytes that end at an odd place
	RuleJunk        = "junk"            // among the entries of a frame
	RuleAlignment   = "alignment"       // a plain segment at an odd place
	RuleFrameEnd    = "frame-end"       // a frame ends inside an entry
	RuleEmptyFrame  = "empty-frame"     // the first one
	RuleDamaged     = "damaged"         // compressed data
	RuleLZ4End      = "lz4-end"         // something behind blocks that four zero bytes should end
	RuleLZMAEnd     = "lzma-end"        // a mark where the size is told
	RuleLZ4Frame    = "lz4-frame"       // the format that the kernel does not know
	RuleSkippable   = "skippable-frame" // of zstd
	RuleGzip        = "gzip-header"     // with what the kernel does not skip
	RuleXZCheck     = "xz-check"        // other than CRC32
	RuleXZFilter    = "xz-filter"       // one that the kernel lacks
	RuleSplitHeader = "split-header"    // see Reader.headerSplit
	RuleWindow      = "window"          // beyond what the decompressor takes

	// What it cuts without a word.
	RuleCutOff = "cut-off"
	RuleEmpty  = "empty" // no archive at all

	// What it leaves out, or makes something else of.
	RuleParent   = "parent"    // the directory above is missing, or none
	RuleNameSize = "name-size" // 0 or more than 4096
	RuleLongName = "long-name" // a part of more than 255 bytes
	RulePlace    = "place"     // the name leads nowhere
	RuleBody     = "body"      // data where none may be
	RuleType     = "type"      // none in the mode
	RuleTarget   = "target"    // of a symbolic link: too long, with a zero byte, none
	RuleReplace  = "replace"   // a directory that is not empty is in the way
	RuleLink     = "link"      // different files become one, or none
	RuleDevice   = "device"    // numbers that have no room

	RuleMemory = "memory"

	// What is worth knowing.
	RuleTrailer = "trailer" // none, or one with data
	RuleTime    = "time"
	RuleInit    = "init"
	RuleConsole = "console"
)

// drops gives the rule that an entry left out falls under, and what to do.
var drops = map[drop]struct{ rule, hint string }{
	dropNameSize: {RuleNameSize, ""},
	dropTarget:   {RuleTarget, ""},
	dropData:     {RuleBody, "its size must be 0"},
	dropType:     {RuleType, "the mode needs the type as well, 0100644 for a file"},
	dropParent:   {RuleParent, "the image needs an entry for every directory, before what is in it"},
	dropNotDir:   {RuleParent, ""},
	dropLoop:     {RuleParent, ""},
	dropLong:     {RuleLongName, ""},
	dropIsDir:    {RuleReplace, "something else than a directory replaces only an empty one"},
	dropName:     {RulePlace, ""},
	dropLinked:   {RuleLink, ""},
}

// find keeps a finding.
func (v *verifier) find(f Finding) {
	if v.report.Counts[f.Rule]++; v.report.Counts[f.Rule] <= maxFindings {
		v.report.Findings = append(v.report.Findings, f)
	}
}

// at makes a finding about an entry.
func (v *verifier) at(h *Header, rule string, s Severity, format string, args ...any) Finding {
	return Finding{Rule: rule, Severity: s, Path: h.Name, Segment: h.Segment, Offset: h.Offset, Packed: v.r.body != nil, Text: fmt.Sprintf(format, args...)}
}

// stopped reports where the reading ended early.
func (v *verifier) stopped(e *StopError) {
	f := Finding{Rule: e.Rule, Severity: Stops, Path: e.Path, Segment: max(0, e.Segment), Offset: e.Offset, Packed: e.Packed,
		Text: strings.TrimSuffix(e.Err.Error(), ": "+io.ErrUnexpectedEOF.Error()), Kernel: e.Kernel, Hint: stopHints[e.Rule]}
	switch {
	case e.Rule == RuleCutOff:
		f.cutOff(e.part)
	case unseen(e.Err):
		f.Severity = Drops
		f.Text += "; the kernel does not compare it and takes the data as it is"
	case e.Rule == RuleLZ4End:
		f.Text = "something follows the lz4 data, and the kernel takes it for another block; it stops here"
	case e.Rule == RuleDamaged && v.r.segment().Method == LZ4:
		f.Text += "; the kernel stops here"
		f.Hint = stopHints[RuleLZ4End] + ", if this was to be the end"
	case e.Rule == RuleDigits:
		f.Text += "; 6.12 takes the digits before it for the number, 7.2 stops"
	case e.Rule == RuleFrameEnd:
		f.Text = "the compressed data ends inside this entry; the kernel stops here"
	default:
		f.Text += "; the kernel stops here"
	}
	v.find(f)
}

// cutOff says what becomes of the last entry of a plain archive, about which the
// kernel is silent.
func (f *Finding) cutOff(part entryPart) {
	f.Severity = Truncates
	switch part {
	case inHeader:
		f.Text = "the archive is cut off in the header or name of an entry, which the kernel leaves out"
	case inData:
		f.Text = "the archive is cut off in the data of this entry; the kernel makes the file as large as the header says, with zero bytes at its end"
	case inPadding:
		f.Severity = Note
		f.Text = "the zero bytes behind the last entry are missing"
	}
}

// stopHints say what to do about it.
var stopHints = map[string]string{
	RuleAlignment:   "fill up with zero bytes before it",
	RulePadding:     "fill up with zero bytes before it",
	RuleFrameEnd:    "compress in one frame, or end frames between entries",
	RuleMagic:       "what is behind the last archive must be zero bytes",
	RuleLZ4End:      "put 8 zero bytes behind the lz4 data",
	RuleLZMAEnd:     "write either the size or a mark at the end, not both",
	RuleLZ4Frame:    "compress with lz4 -l",
	RuleXZCheck:     "compress with xz --check=crc32",
	RuleXZFilter:    "compress with xz --check=crc32 --lzma2",
	RuleSkippable:   "compress without an index or other skippable frames",
	RuleCutOff:      "copy the image again, or make it anew",
	RuleDamaged:     "copy the image again, or make it anew",
	RuleGzip:        "compress with gzip -n",
	RuleSplitHeader: "mend or take out the entry",
	RuleEmptyFrame:  "leave it out",
}
