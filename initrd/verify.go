package initrd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Kernel is what is known of the kernel that is to unpack an image. The zero
// value is one with every compression, of which nothing else is known.
type Kernel struct {
	Methods  []Method // compressions it can unpack, from CONFIG_RD_…; nil: all
	Filters  []string // xz filters it has besides LZMA2, from CONFIG_XZ_DEC_…: "x86", "arm64"; nil: arm64 and riscv, as Debian's for riscv64
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
		if errors.As(err, &stop) && stop.Rule != "" && !v.hasFilter(stop) {
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

// trailer is told of the end of an archive.
func (v *verifier) trailer(h *Header) {
	if v != nil && h.Size > 0 {
		v.find(v.at(h, RuleTrailer, Note, "has data: the kernel passes over it, other programs may not"))
	}
}

// lastArchive looks at how the image ends.
func (v *verifier) lastArchive() {
	segs := v.r.Segments()
	switch {
	case len(segs) == 0:
		v.find(Finding{Rule: RuleEmpty, Severity: Truncates, Segment: -1, Text: "there is no archive in it, nothing but zero bytes at most"})
		return
	case v.r.ended:
		return
	}
	last := segs[len(segs)-1]
	text := "there is no TRAILER!!! at the end"
	if last.Method == None {
		text += ": if the image was cut off between two entries, nobody would notice"
	}
	v.find(Finding{Rule: RuleTrailer, Severity: Note, Segment: len(segs) - 1, Offset: last.Offset, Text: text})
}
