package initrd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/gzip"

	"github.com/kstage/kstage/internal/xz"
)

// Kernel is what is known of the kernel that is to unpack an image. The zero
// value is one with every compression, of which nothing else is known.
type Kernel struct {
	Methods  []Method // compressions it can unpack, from CONFIG_RD_…; nil: all
	NoInitrd bool     // it takes no image: without CONFIG_BLK_DEV_INITRD, or with CONFIG_INITRAMFS_FORCE
	NoTimes  bool     // it leaves times out: without CONFIG_INITRAMFS_PRESERVE_MTIME
	BuiltIn  bool     // it has an initramfs of its own (CONFIG_INITRAMFS_SOURCE), so it may have no /dev/console
	Memory   int64    // bytes of RAM of the machine; 0: enough
}

// A Report is what the kernel would make of an image.
type Report struct {
	Segments []Segment // up to where the kernel stops
	Entries  int       // looked at, without TRAILER!!!
	Size     int64     // bytes of the image
	Unpacked int64     // bytes of its archives
	Files    int64     // bytes of memory that the files take, in pages of 4 KiB
	Needed   int64     // bytes of memory while it is unpacked: image, files and the decompressor's window
	Findings []Finding // in the order of the image, at most 1000 of one rule

	// Counts tells how many findings each rule has, also those left out.
	Counts map[string]int
}

// Whole says whether the kernel would unpack all of the image.
func (r *Report) Whole() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity > Note })
}

// maxFindings is how many findings of one rule are kept.
const maxFindings = 1000

// Verify reads an image and follows what the kernel would do with it
// (init/initramfs.c and lib/decompress*.c; 6.12 and 7.2 do the same but where the
// text says otherwise). What the kernel would leave out, cut, or stop at is a finding,
// and no error. An error means that the image cannot be read, or that it cannot be
// told what the kernel would do: data compressed with LZO or an xz filter, more than
// 2^20 entries.
func Verify(image io.Reader, k Kernel) (*Report, error) {
	in := &watched{r: image}
	v := &verifier{r: NewReader(in), kernel: k, fs: newRamfs(false), report: &Report{Counts: map[string]int{}}}
	v.r.watch = v
	if !k.BuiltIn {
		v.fs.addBuiltIn()
	}
	err := v.run()
	if in.err == nil && err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if in.err != nil {
		return nil, fmt.Errorf("image: %w", in.err)
	}
	if err != nil {
		return nil, err
	}
	v.finish(in.n)
	return v.report, nil
}

// watched keeps an error that says that the image cannot be read.
type watched struct {
	r   io.Reader
	n   int64
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	k, err := w.r.Read(p)
	w.n += int64(k)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return k, err
}

// verifier is one run of Verify.
type verifier struct {
	r      *Reader
	kernel Kernel
	fs     *ramfs
	report *Report

	kept   int64 // bytes of names and targets kept
	linked map[*inode]linkedFile
	peak   int64 // most memory so far but for the image
	window int64 // of the current frame
	full   bool  // memory has been found to be too small
	times  bool  // there has been a finding about times
}

// maxKept bounds the memory that names, targets and links take.
const maxKept = 256 << 20

func (v *verifier) run() error {
	if v.kernel.NoInitrd {
		v.find(Finding{Rule: RuleInitrd, Severity: Stops, Segment: -1, Text: "the kernel is built to take no image from a boot loader",
			Hint: "build it with CONFIG_BLK_DEV_INITRD=y and without CONFIG_INITRAMFS_FORCE"})
		return nil
	}
	for range maxEntries {
		h, err := v.r.Next()
		if err == nil {
			err = v.entry(h)
		}
		if err == io.EOF {
			v.lastArchive()
			return nil
		}
		var stop *StopError
		if errors.As(err, &stop) && stop.Rule != "" {
			v.stopped(stop)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("image: there are more than %d entries", maxEntries)
}

// entry lets the kernel's rules loose on one entry.
func (v *verifier) entry(h *Header) error {
	v.report.Entries++
	target, err := v.r.target(h)
	if err != nil {
		return err
	}
	if v.kept += int64(len(h.Name) + len(target)); v.kept > maxKept {
		return fmt.Errorf("image: the names of the entries take more than %d bytes", int64(maxKept))
	}
	node, why := v.fs.put(h, target)
	if why != "" {
		return v.dropped(h, why)
	}
	v.look(h, target)
	if node != nil && h.Size > 0 {
		v.fs.resize(node, int64(h.Size))
	}
	v.memory(h)
	if node != nil && h.Links > 1 {
		return v.links(h, node)
	}
	return nil
}

// dropped reports an entry that the kernel leaves out. It does not look at its
// data then, so the sum may be wrong.
func (v *verifier) dropped(h *Header, why drop) error {
	h.Summed = false
	f := v.at(h, drops[why].rule, Drops, "is left out: %s", why)
	f.Hint = drops[why].hint
	v.find(f)
	if h.skipped() == "" || !v.r.headerSplit() {
		return nil
	}
	return v.r.stopEntry(RuleSplitHeader, "this entry, which the kernel passes over, has its header across the border of two pieces of "+
		"decompressed data: the kernel takes the same header for the next one, again and again", frameEnd)
}

// headerSplit says whether the header of the current entry lies in two of the pieces in
// which the kernel's decompressor hands its data out. It then stands in a buffer, and
// the state that do_header leaves after an entry passed over is to look at that
// buffer again (next_state, set by read_into).
func (r *Reader) headerSplit() bool {
	if r.body == nil {
		return false
	}
	piece := pieceOf(r.segment().Method, &r.body.facts)
	at := r.cur.Offset - r.in.base
	return piece > 0 && at/piece != (at+headerLen-1)/piece
}

// pieceOf is in how large pieces the kernel's decompressors hand data out
// (lib/decompress_*.c). With lz4 it is the usual size of a block.
func pieceOf(m Method, facts *streamFacts) int64 {
	switch m {
	case Gzip:
		return 32 << 10
	case Bzip2, XZ:
		return 4 << 10
	case Zstd:
		return 128 << 10
	case LZ4:
		return lz4Block
	case LZMA:
		return int64(max(1, facts.dictSize))
	}
	return 0
}

// look reports what comes out other than it stands in the image.
func (v *verifier) look(h *Header, target string) {
	switch typ := h.Mode & typeMask; {
	case (typ == typeChar || typ == typeBlock) && (h.RdevMajor > maxMajor || h.RdevMinor > maxMinor):
		major, minor := h.device()
		v.find(v.at(h, RuleDevice, Drops, "device %d:%d has no room in 12 and 20 bits, it becomes %d:%d", h.RdevMajor, h.RdevMinor, major, minor))
	case typ == typeSymlink && target == "":
		v.find(v.at(h, RuleTarget, Note, "is a symbolic link without a target: the kernel makes it, other programs do not"))
	case typ == typeSymlink && len(target) < int(h.Size) && len(target) < int(h.Size)-1:
		v.find(v.at(h, RuleTarget, Drops, "the target has a zero byte in it and ends there, as %.200q", target))
	}
	switch {
	case v.times:
	case h.ModTime > math.MaxInt32:
		v.times = true
		v.find(v.at(h, RuleTime, Note, "the time of modification is after 2038; a time before 1970 looks so, too"))
	case v.kernel.NoTimes && h.ModTime != 0:
		v.times = true
		v.find(v.at(h, RuleTime, Note, "the kernel leaves times of modification out: it has no CONFIG_INITRAMFS_PRESERVE_MTIME"))
	}
}

// linkedFile is what is known of a file with several names.
type linkedFile struct {
	path  string // the first name
	data  string // the name that had data
	sum   [sha256.Size]byte
	noted bool
}

// links compares the data of the names of one file.
func (v *verifier) links(h *Header, node *inode) error {
	old, known := v.linked[node]
	if !known {
		old.path = h.Name
	}
	if node.names > int(min(h.Links, math.MaxInt32)) && !old.noted {
		old.noted = true
		f := v.at(h, RuleLink, Drops, "becomes a hard link of %.200s: %d entries with this inode say that the file has %d names",
			old.path, node.names, h.Links)
		f.Hint = linkHint
		v.find(f)
	}
	if h.Size > 0 {
		sum := sha256.New()
		if _, err := io.Copy(sum, v.r); err != nil {
			return err
		}
		digest := [sha256.Size]byte(sum.Sum(nil))
		if old.data != "" && digest != old.sum && !old.noted {
			old.noted = true
			f := v.at(h, RuleLink, Drops, "is a hard link of %.200s and has other data: both get the data of this one", old.data)
			f.Hint = linkHint
			v.find(f)
		}
		old.data, old.sum = h.Name, digest
	}
	if v.linked == nil {
		v.linked = make(map[*inode]linkedFile)
	}
	v.linked[node] = old
	return nil
}

const linkHint = "different files need different inode numbers; TRAILER!!! at the end of each archive keeps archives apart"

// The rest is what the Reader tells its verifier, which may be nil.

// method is asked before a frame is decompressed.
func (v *verifier) method(m Method, at int64) error {
	if v == nil || v.kernel.Methods == nil || slices.Contains(v.kernel.Methods, m) {
		return nil
	}
	return v.r.stop(at, RuleMethod, fmt.Sprintf("the kernel cannot unpack %v", m), fmt.Sprintf("compression method %v not configured", m))
}

// frameBegins is told of a frame's header.
func (v *verifier) frameBegins(f *streamFacts, at int64) error {
	if v == nil {
		return nil
	}
	v.window = windowOf(f)
	switch {
	case f.method == Gzip && f.gzipFlags&^gzipKnown != 0:
		return v.r.stop(at, RuleGzip, fmt.Sprintf("gzip: the header has the flags %#02x; the kernel skips a name, and takes a comment, an extra field "+
			"or a header checksum for data", f.gzipFlags), "")
	case f.method == XZ && f.xzCheck > 1:
		return v.r.stop(at, RuleXZCheck, "xz: the data has "+xzCheckName(f.xzCheck)+" as check; the kernel knows only CRC32",
			"Input was encoded with settings that are not supported by this XZ decoder")
	}
	v.windowFits(at)
	return nil
}

// gzipKnown are the flags of a gzip header that the kernel gets right: that it is text,
// and a name.
const gzipKnown = 1 | 8

func xzCheckName(check byte) string {
	switch check {
	case 4:
		return "CRC64"
	case 10:
		return "SHA-256"
	}
	return fmt.Sprintf("number %d", check)
}

// frameEnds is told at the end of a frame, behind its bytes.
func (v *verifier) frameEnds(f *streamFacts) error {
	if v == nil {
		return nil
	}
	v.window = windowOf(f)
	v.peak = max(v.peak, v.fs.pages*pageSize+v.window)
	v.window = 0
	if f.lzmaUnread > 1 { // a single one is zero, as it must be for the data to end
		return v.r.stop(v.r.raw.offset()-int64(f.lzmaUnread), RuleLZMAEnd,
			fmt.Sprintf("lzma: the kernel stops reading %d bytes before the end of the data, and takes these for a segment", f.lzmaUnread),
			"invalid magic at start of compressed archive")
	}
	if f.method == LZ4 && !f.lz4Ended {
		note := Finding{Rule: RuleLZ4End, Severity: Note, Segment: len(v.r.segs) - 1, Offset: v.r.raw.offset(), Hint: stopHints[RuleLZ4End],
			Text: "nothing ends the lz4 data: should a boot loader put anything behind, the kernel takes that for a block"}
		v.find(note)
	}
	return nil
}

// trailer is told of the end of an archive.
func (v *verifier) trailer(h *Header) {
	if v != nil && h.Size > 0 {
		v.find(v.at(h, RuleTrailer, Note, "has data: the kernel passes over it, other programs may not"))
	}
}

// windowOf is the memory that the kernel's decompressor takes for what it may
// have to look back at.
func windowOf(f *streamFacts) int64 {
	switch f.method {
	case Zstd, XZ, LZMA:
		return int64(min(f.dictSize, math.MaxInt64))
	case LZ4:
		return lz4Block
	case Bzip2:
		return 900_000 * 4
	}
	return 32 << 10
}

// lastArchive looks at how the image ends.
func (v *verifier) lastArchive() {
	segs := v.r.Segments()
	if len(segs) == 0 || v.r.ended {
		return
	}
	last := segs[len(segs)-1]
	text := "there is no TRAILER!!! at the end"
	if last.Method == None {
		text += ": if the image was cut off between two entries, nobody would notice"
	}
	v.find(Finding{Rule: RuleTrailer, Severity: Note, Segment: len(segs) - 1, Offset: last.Offset, Text: text})
}

// unseen says whether an error of decompression is one that the kernel does not see.
func unseen(err error) bool { return errors.Is(err, gzip.ErrChecksum) }

// explain gives the rule for an error of decompression and what the kernel says about
// it, where that is certain (lib/decompress_*.c). Without a rule it cannot be told what
// the kernel would do.
func explain(m Method, err error) (rule, kernel string) {
	cut := errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, xz.ErrUnsupported):
		return "", ""
	case m == LZO:
		return "", ""
	case errors.Is(err, errZstdWindow):
		return RuleWindow, "ZSTD-compressed data is probably corrupt"
	case errors.Is(err, errLZ4Size):
		return RuleLZ4End, "Decoding failed"
	case m == XZ && cut:
		return RuleDamaged, "XZ-compressed data is corrupt"
	case m == Zstd && cut:
		return RuleDamaged, "ZSTD-compressed data is truncated"
	}
	return RuleDamaged, ""
}
