package initrd

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/kstage/kstage/internal/xz"
)

// What the kernel's decompressors do (lib/decompress_*.c). The Reader tells its
// verifier, which may be nil, of every frame.

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
			xzSettings)
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

// unseen says whether an error of decompression is one that the kernel does not see.
func unseen(err error) bool { return errors.Is(err, gzip.ErrChecksum) }

// explain gives the rule for an error of decompression and what the kernel says about
// it, where that is certain (lib/decompress_*.c). Without a rule it cannot be told what
// the kernel would do.
func explain(m Method, err error) (rule, kernel string) {
	cut := errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case filterOf(err) != "":
		return RuleXZFilter, xzSettings
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

const xzSettings = "Input was encoded with settings that are not supported by this XZ decoder"

// filterOf gives the xz filter that data cannot be decompressed for, by the name
// that the kernel's configuration has for it; "" if that is not the error.
func filterOf(err error) string {
	var f *xz.FormatError
	if !errors.As(err, &f) || !errors.Is(err, xz.ErrUnsupported) {
		return ""
	}
	name, ok := strings.CutPrefix(f.Text, "filter ")
	if !ok {
		return ""
	}
	name, _ = strings.CutSuffix(strings.ToLower(name), " bcj")
	return strings.NewReplacer(" ", "", "-", "").Replace(name)
}

// hasFilter says that the kernel can unpack what we cannot.
func (v *verifier) hasFilter(stop *StopError) bool {
	has := v.kernel.Filters
	if has == nil {
		has = []string{"arm64", "riscv"}
	}
	return stop.Rule == RuleXZFilter && slices.Contains(has, filterOf(stop.Err))
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
