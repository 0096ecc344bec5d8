package preflight

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// read gets the module's bytes as the loader will see them; data is nil when it
// will see none.
func (c *Check) read(u *modinfo.Unpacker, m *module, r io.ReaderAt, size int64) []Finding {
	u.MaxSize = c.MaxModuleSize
	if c.Flags&^(IgnoreModversions|IgnoreVermagic|CompressedFile) != 0 {
		return []Finding{{Rule: ELFHeader, Severity: Fail, Errno: EINVAL, Text: fmt.Sprintf("finit_module does not know the flags 0x%x", c.Flags)}}
	}
	if size <= 0 { // kernel_read_file
		return []Finding{{Rule: ELFHeader, Severity: Fail, Errno: EINVAL, Text: "the file is empty"}}
	}
	if c.Raw && c.Flags&CompressedFile == 0 {
		return m.take(u.Raw(r, size))
	}
	data, packing, err := u.Unpack(r, size)
	if c.Flags&CompressedFile != 0 {
		var head [12]byte
		n, _ := r.ReadAt(head[:min(size, int64(len(head)))], 0)
		if f := m.unpackInKernel(packing, head[:n], err); f != nil {
			return []Finding{*f}
		}
		m.data = data
		return nil
	}
	if err != nil && packing != modinfo.None {
		return []Finding{{Rule: Compression, Severity: Fail, Errno: EINVAL, Text: err.Error()}}
	}
	return append(m.take(data, err), c.packedAs(m, packing, r)...)
}

// take keeps the bytes of a file, or tells why they cannot be read.
func (m *module) take(data []byte, err error) []Finding {
	if err == nil {
		m.data = data
		return nil
	}
	m.used = append(m.used, kernel.Unknown)
	f := Finding{Rule: ELFHeader, Severity: Warn, Text: err.Error(), Hint: "make the file readable"}
	if errors.Is(err, modinfo.ErrTooLarge) {
		f.Hint = "raise the limit with --max-module-size if the module is genuine"
	}
	return []Finding{f}
}

// unpackInKernel is module_decompress (kernel/module/decompress.c); err is what came
// out of unpacking the file.
func (m *module) unpackInKernel(packing modinfo.Compression, head []byte, err error) *Finding {
	able := m.facts.Option("MODULE_DECOMPRESS")
	if able.No() {
		f := &Finding{Rule: Compression, Severity: Fail, Errno: EOPNOTSUPP, From: able.From.Source, Text: "the kernel cannot unpack modules itself"}
		if major, minor, known := release(m.facts); known && major<<16|minor < 5<<16|17 {
			f.Errno = EINVAL // it does not know the flag
		}
		return f
	}
	kind, from := m.kernelPacking()
	if kind == modinfo.None {
		m.used = append(m.used, kernel.Unknown)
		kind = packing
	}
	fault := ""
	switch {
	case kind != packing || kind == modinfo.None:
		article := "a"
		if kind == modinfo.XZ {
			article = "an"
		}
		fault = fmt.Sprintf("not %s %v compressed module", article, kind)
	case err != nil:
		fault = unpackFault(kind, err)
	case kind == modinfo.XZ && foreignCheck(head):
		fault = "decompression failed with status 6"
	default:
		return nil
	}
	f := &Finding{Rule: Compression, Severity: Fail, Errno: EINVAL, From: from, Dmesg: []string{fault},
		Text: fmt.Sprintf("the kernel cannot unpack the file: it unpacks %v only, with checks of CRC32 if it is xz", kind)}
	if err != nil {
		f.Text = err.Error()
	}
	return f
}

// kernelPacking gives the one packing that the kernel unpacks; None when unknown.
func (m *module) kernelPacking() (modinfo.Compression, kernel.Source) {
	for name, packing := range map[string]modinfo.Compression{
		"MODULE_COMPRESS_GZIP": modinfo.Gzip, "MODULE_COMPRESS_XZ": modinfo.XZ, "MODULE_COMPRESS_ZSTD": modinfo.Zstd,
	} {
		if o := m.facts.Option(name); o.Yes() {
			return packing, o.From.Source
		}
	}
	return modinfo.None, kernel.Unknown
}

// foreignCheck tells whether xz data has checksums that the kernel's decoder does not
// know: it knows none and CRC32 (lib/xz/xz_dec_stream.c), tools write CRC64.
func foreignCheck(head []byte) bool { return len(head) > 7 && head[7]&0xf > 1 }

// unpackFault is what the decoders say of data that is damaged or cut off: the
// numbers are those of enum xz_ret, zlib and zstd.
func unpackFault(kind modinfo.Compression, err error) string {
	cut := errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "cut off")
	switch {
	case kind == modinfo.Zstd:
		return "ZSTD-decompression failed with status <number>"
	case kind == modinfo.Gzip && cut:
		return "decompression failed with status -5"
	case kind == modinfo.Gzip:
		return "decompression failed with status -3"
	case cut:
		return "decompression failed with status 0"
	}
	return "decompression failed with status 7"
}

// packedAs warns of files that some loaders cannot unpack: kmod goes by the first
// bytes, others by the name; and kmod since 31 leaves it to the kernel where that
// says that it can.
func (c *Check) packedAs(m *module, packing modinfo.Compression, r io.ReaderAt) []Finding {
	var findings []Finding
	for _, other := range []modinfo.Compression{modinfo.Gzip, modinfo.XZ, modinfo.Zstd} {
		if other != packing && strings.HasSuffix(m.path, other.Suffix()) {
			findings = append(findings, Finding{Rule: Compression, Severity: Warn, Hint: "name it as it is packed",
				Text: fmt.Sprintf("the file's name says %v, its packing is %v", other, packing)})
		}
	}
	head := make([]byte, 12)
	n, _ := r.ReadAt(head, 0)
	kind, from := m.kernelPacking()
	if packing == modinfo.XZ && kind == packing && m.facts.Option("MODULE_DECOMPRESS").Yes() && foreignCheck(head[:n]) {
		findings = append(findings, Finding{Rule: Compression, Severity: Warn, From: from, Hint: "pack it with xz --check=crc32",
			Text: "the kernel's own xz decoder, to which kmod since 31 leaves the file, knows checks of CRC32 only: decompression failed with status 6"})
	}
	return findings
}

// readerAt gives access to an open file.
func readerAt(f fs.File) (io.ReaderAt, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, info.Size(), nil
	}
	b, err := io.ReadAll(f)
	return bytes.NewReader(b), int64(len(b)), err
}
