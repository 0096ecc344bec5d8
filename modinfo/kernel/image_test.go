package kernel

import (
	"bytes"
	"debug/elf"
	"hash/crc32"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// flat makes an Image of a machine: the header, then text.
func flat(magic string, text ...string) []byte {
	h := make([]byte, flatHeader)
	copy(h, "\x6f\x00\x00\x00") // a jump
	copy(h[56:], magic)
	return append(h, strings.Join(text, "\x00")+"\x00"...)
}

// asEFI gives an Image a PE header with one section that has all but the header.
func asEFI(image []byte) []byte { return asPE(image, 0x5064) }

func asPE(image []byte, machine uint16) []byte {
	const at, table = 0x40, 0x40 + 24
	b := bytes.Clone(image[:flatHeader])
	copy(b, "MZ")
	le.PutUint32(b[60:], at)
	b = append(b, make([]byte, 0x200-len(b))...)
	copy(b[at:], "PE\x00\x00\x00\x00\x01\x00")
	le.PutUint16(b[at+4:], machine)
	copy(b[table:], ".text")
	le.PutUint32(b[table+16:], uint32(len(image)-flatHeader))
	le.PutUint32(b[table+20:], 0x200)
	return append(b, image[flatHeader:]...)
}

func zboot(packed []byte, name string) []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ\x00\x00zimg")
	le.PutUint32(b[8:], uint32(len(b)))
	le.PutUint32(b[12:], uint32(len(packed)))
	copy(b[24:], name)
	copy(b[56:], linuxPE)
	return append(b, packed...)
}

// bzImage has 2 sectors of setup, and begins as an EFI program does; since 6.10 with
// the magic of those that are kernels.
func bzImage(packed []byte) []byte {
	b := make([]byte, 3*512+64)
	copy(b, "MZ")
	copy(b[56:], linuxPE+"\x40\x00\x00\x00PE\x00\x00\x64\x86")
	b[0x1f1] = 2
	copy(b[0x202:], "HdrS\x0f\x02")
	le.PutUint32(b[0x248:], 64)
	le.PutUint32(b[0x24c:], uint32(len(packed)))
	return append(append(b, packed...), "what comes behind"...)
}

// part is a part of an ELF file that is loaded.
type part struct {
	addr uint64
	data []byte
}

func elfFile(machine elf.Machine, parts ...part) []byte {
	const header, entry = 64, 56
	b := make([]byte, header+entry*len(parts))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], uint16(elf.ET_EXEC))
	le.PutUint16(b[18:], uint16(machine))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], header)
	le.PutUint16(b[52:], header)
	le.PutUint16(b[54:], entry)
	le.PutUint16(b[56:], uint16(len(parts)))
	le.PutUint16(b[58:], 64)
	for i, p := range parts {
		h := b[header+entry*i:]
		le.PutUint32(h, uint32(elf.PT_LOAD))
		le.PutUint64(h[8:], uint64(len(b)))
		le.PutUint64(h[16:], p.addr)
		le.PutUint64(h[32:], uint64(len(p.data)))
		le.PutUint64(h[40:], uint64(len(p.data)))
		b = append(b, p.data...)
	}
	return b
}

func sized(packed, plain []byte) []byte {
	return le.AppendUint32(bytes.Clone(packed), uint32(len(plain)))
}

// packers are by the packing's name.
var packers = map[string]func(t testing.TB, data []byte) []byte{
	"gzip": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	},
	"zstd": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	},
	"xz": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	},
	"lz4": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(lz4.LegacyOption(true))
		})
	},
	"lz4 frame": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	},
	"lzma": func(t testing.TB, data []byte) []byte {
		return written(t, data, func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) })
	},
}

func written(t testing.TB, data []byte, writer func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := writer(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(data []byte) (*Image, error) {
	return ReadImage(bytes.NewReader(data), int64(len(data)))
}

// checkFormats reads an image of riscv64 in each format that it can have.
func checkFormats(t *testing.T, image []byte) {
	t.Helper()
	const name = "riscv64 Image"
	tests := map[string][]byte{
		name:              image,
		name + ", uImage": append([]byte("\x27\x05\x19\x56"+strings.Repeat("\x00", 60)), image...),
	}
	for packing, pack := range packers {
		packed := pack(t, image)
		tests[name+", "+packing] = packed
		tests[name+", "+packing+", EFI zboot"] = zboot(packed, packing)
		tests[name+", "+packing+", bzImage"] = bzImage(sized(packed, image))
	}
	tests[name+", gzip, bzImage"] = bzImage(packers["gzip"](t, image)) // has the size at its end anyway
	tests[name+", gzip, EFI zboot, uImage"] = append([]byte("\x27\x05\x19\x56"+strings.Repeat("\x00", 60)), tests[name+", gzip, EFI zboot"]...)
	for format, data := range tests {
		m, err := read(data)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if m.Format != format || m.Machine != elf.EM_RISCV || m.Base != 0xffffffff80000000 || !bytes.Equal(m.Data, image) {
			t.Errorf("%s: got %s, %v, base %#x, %d bytes", format, m.Format, m.Machine, m.Base, len(m.Data))
		}
	}
}

func TestReadImage(t *testing.T) {
	checkFormats(t, flat("RSC\x05", "Linux version 6.12.107 ", strings.Repeat("text ", 100000)))
	checkFormats(t, asEFI(flat("RSC\x05", "an EFI program")))
}

func TestReadImageTrailer(t *testing.T) {
	image := flat("RSC\x05", "text")
	for packing, pack := range packers {
		if packing == "lz4 frame" {
			continue // not made by the kernel's makefiles
		}
		m, err := read(sized(pack(t, image), image))
		if err != nil || !bytes.Equal(m.Data, image) {
			t.Errorf("%s with the size behind: %v", packing, err)
		}
	}
}

func TestReadImageBzip2(t *testing.T) {
	tool, err := exec.LookPath("bzip2")
	if err != nil {
		t.Skip("bzip2 is not installed")
	}
	image := flat("RSC\x05", strings.Repeat("text ", 1000))
	cmd := exec.Command(tool, "-c")
	cmd.Stdin = bytes.NewReader(image)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for format, data := range map[string][]byte{"bzip2": packed, "bzip2, bzImage": bzImage(sized(packed, image))} {
		m, err := read(data)
		if err != nil || m.Format != "riscv64 Image, "+format || !bytes.Equal(m.Data, image) {
			t.Errorf("%s: %+v, %v", format, m, err)
		}
	}
}

func TestReadImageMachines(t *testing.T) {
	tests := map[string]struct {
		data    []byte
		machine elf.Machine
	}{
		"arm64 Image":                   {asPE(flat("ARM\x64", "text"), 0xaa64), elf.EM_AARCH64},
		"arm64 Image, gzip":             {compressed(string(flat("ARM\x64", "text"))), elf.EM_AARCH64},
		"loongarch64 Image":             {asPE(flat(linuxPE, "text"), 0x6264), elf.EM_LOONGARCH},
		"x86_64 vmlinux, zstd, bzImage": {bzImage(sized(packers["zstd"](t, elfFile(elf.EM_X86_64, part{0xffffffff81000000, []byte("text")})), nil)), elf.EM_X86_64},
	}
	for format, tt := range tests {
		m, err := read(tt.data)
		if err != nil || m.Format != format || m.Machine != tt.machine {
			t.Errorf("%s: got %+v, %v", format, m, err)
		}
	}
}

func TestReadImageELF(t *testing.T) {
	text, data := bytes.Repeat([]byte("text"), 1000), []byte("data")
	const base = 0xffffffff81000000
	// Parts in another order than that of the addresses, and one at 0.
	m, err := read(elfFile(elf.EM_X86_64, part{base + 0x2000, data}, part{base, text}, part{0, []byte("of each processor")}))
	if err != nil {
		t.Fatal(err)
	}
	if m.Format != "x86_64 vmlinux" || m.Base != base || len(m.Data) != 0x2000+len(data) {
		t.Errorf("%s, base %#x, %d bytes", m.Format, m.Base, len(m.Data))
	}
	for _, tt := range []struct {
		addr, n uint64
		want    []byte
	}{
		{base, 4000, text}, {base + 0x2000, 4, data}, {base + 4000, 2, []byte{0, 0}}, {base + 0x2004, 0, []byte{}},
		{base + 0x2001, 4, nil}, {base - 1, 1, nil}, {base + 0x2005, 0, nil}, {0, 1 << 63, nil}, {1<<64 - 1, 1<<64 - 1, nil},
	} {
		if got := m.At(tt.addr, tt.n); !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("At(%#x, %d) is %q, want %q", tt.addr, tt.n, got, tt.want)
		}
	}
}

func TestReadImageErrors(t *testing.T) {
	image := flat("RSC\x05", strings.Repeat("some text ", 1000))
	half := func(b []byte) []byte { return b[:len(b)/2] }
	old := bzImage(packers["gzip"](t, image))
	old[0x206] = 7
	filters := []byte{2, 1, 4, 0, 0x21, 1, 8, 0} // x86's, and LZMA2
	x86 := append([]byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36"), le.AppendUint32(filters, crc32.ChecksumIEEE(filters))...)
	nest := image
	for range maxLayers + 1 {
		nest = packers["gzip"](t, nest)
	}
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":           {nil, "kernel image: the file is empty"},
		"text":            {[]byte("hello, kernel"), "kernel image: no known format: it begins with 68 65 6c 6c 6f 2c 20 6b"},
		"FIT":             {[]byte("\xd0\x0d\xfe\xed"), "FIT image; take the kernel out: dumpimage"},
		"other program":   {append([]byte("MZ"), make([]byte, 600)...), "it is an EFI program, but no kernel"},
		"cut EFI":         {half(asEFI(image)), "riscv64 Image: section .text, 10001 bytes at byte 512, ends outside the file of 5256 bytes: it is cut off"},
		"no PE":           {append([]byte("MZ"), image[2:]...), "riscv64 Image: there is no PE header at byte 0"},
		"cut gzip":        {half(packers["gzip"](t, image)), "gzip data is cut off at byte"},
		"cut zstd":        {half(packers["zstd"](t, image)), "zstd data is cut off at byte"},
		"cut xz":          {half(packers["xz"](t, image)), "xz data is cut off"},
		"cut lz4":         {half(packers["lz4"](t, image)), "lz4 data is cut off at byte"},
		"cut lz4 frame":   {half(packers["lz4 frame"](t, image)), "lz4 frame data is cut off at byte"},
		"cut lzma":        {half(packers["lzma"](t, image)), "xz data is cut off"},
		"bzip2":           {append([]byte("BZh9"), make([]byte, 20)...), "bzip2 data before byte"},
		"gzip":            {append([]byte("\x1f\x8b\x08\x00"), make([]byte, 20)...), "gzip data before byte"},
		"lzo":             {[]byte("\x89LZO\x00\r\n"), "lzo data before byte 0: not supported; unpack it with lzop"},
		"filter":          {append(x86, make([]byte, 100)...), "; unpack it with xz -dc, or scripts/extract-vmlinux"},
		"cut zboot":       {zboot(nil, "gzip")[:40], "EFI zboot: the header is cut off at byte 40"},
		"zboot payload":   {zboot(compressed("x"), "gzip")[:0x408], "EFI zboot: the packed kernel, 26 bytes at byte 1024, ends outside the file of 1032 bytes"},
		"zboot packing":   {zboot([]byte("a kernel"), "zip"), `EFI zboot: the kernel at byte 1024 is packed with "zip", which is not known`},
		"inside of zboot": {zboot(half(packers["gzip"](t, image)), "gzip"), "kernel image: inside of EFI zboot: gzip data is cut off"},
		"old bzImage":     {old, "bzImage: the header at byte 514 has version 2.07"},
		"cut bzImage":     {old[:0x220], "bzImage: the header is cut off at byte 544"},
		"bzImage payload": {bzImage([]byte("a kernel")), "bzImage: the kernel at byte 1600 is packed in a way that is not known: it begins with 61 20"},
		"bzImage short":   {bzImage(packers["gzip"](t, image))[:1604], "bzImage: the packed kernel"},
		"layers":          {nest, "more than 4 packings are around it"},
		"ELF":             {[]byte("\x7fELF"), "ELF file: "},
		"headers' ELF":    {elfFile(elf.EM_RISCV), "ELF file: no part of it is loaded; take the boot image"},
		"cut ELF":         {elfFile(elf.EM_RISCV, part{1 << 40, image})[:1000], "ELF file: a part that is loaded, 10065 bytes at byte 120, ends outside the file of 1000 bytes"},
		"far apart":       {elfFile(elf.EM_RISCV, part{1 << 40, image}, part{1 << 50, image}), "belongs to address 0x4000000000000, which does not go with those before"},
		"overlap":         {elfFile(elf.EM_RISCV, part{1 << 40, image}, part{1<<40 + 1, image}), "belongs to address 0x10000000001, which does not go with"},
	}
	for name, tt := range tests {
		m, err := read(tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) || m != nil {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	if _, err := ReadImage(noReaderAt{}, 10); err == nil {
		t.Error("no error of the file")
	}
}

// What unpacks to more than the limit is refused, in each format.
func TestReadImageLimit(t *testing.T) {
	image := flat("RSC\x05", strings.Repeat("0", 1<<20))
	tests := map[string][]byte{"flat": image, "ELF": elfFile(elf.EM_RISCV, part{1 << 40, image})}
	for packing, pack := range packers {
		tests[packing] = pack(t, image)
	}
	for name, data := range tests {
		_, err := readImage(bytes.NewReader(data), int64(len(data)), 1<<20)
		if err == nil || !strings.Contains(err.Error(), "too large: a kernel may have 1048576 bytes at most") {
			t.Errorf("%s: %v", name, err)
		}
		if m, err := readImage(bytes.NewReader(data), int64(len(data)), int64(len(image)+200)); err != nil || !bytes.Equal(m.Data, image) {
			t.Errorf("%s with room: %v", name, err)
		}
	}
}

// claims are files of at most 1 KiB that say to have 2 GiB.
func claims(t testing.TB) map[string][]byte {
	const claim = 2 << 30
	image := flat("RSC\x05", "text")
	zst := []byte("\x28\xb5\x2f\xfd\xa0") // one segment, size of 4 bytes
	zst = append(le.AppendUint32(zst, claim), 0x0c, 0, 0)
	for range 200 {
		zst = append(zst, "\x0c\x00\x00a"...) // compressed blocks that are none
	}
	window := append([]byte("\x28\xb5\x2f\xfd\x00\xa8"), "\x0d\x00\x00a"...) // window of 2 GiB
	lzm := packers["lzma"](t, image)
	le.PutUint32(lzm[1:], claim) // dictionary
	le.PutUint64(lzm[5:], claim)
	frame := packers["lz4 frame"](t, image)
	frame[5] = 0x70 // blocks of 4 MiB
	pe := asEFI(image)
	le.PutUint32(pe[0x40+24+16:], claim)
	huge := bzImage(nil)
	le.PutUint32(huge[0x24c:], claim)
	boot := zboot(nil, "gzip")
	le.PutUint32(boot[12:], claim)
	vmlinux := elfFile(elf.EM_RISCV, part{1 << 40, image})
	le.PutUint64(vmlinux[64+32:], claim)
	wide := elfFile(elf.EM_RISCV, part{1 << 40, image}, part{1<<40 + claim, image})
	return map[string][]byte{
		"gzip": sized(packers["gzip"](t, image)[:40], nil), "zstd": zst, "zstd window": window,
		"xz": []byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36\x02\x00\x21\x01\x26\x00\x00\x00"), "lzma": lzm,
		"lz4": append([]byte(legacyLZ4), "\x00\x00\x00\x80 and so on"...), "lz4 frame": frame,
		"PE": pe, "bzImage": huge[:1024], "zboot": boot, "ELF": vmlinux, "ELF gap": wide,
	}
}

func TestReadImageClaims(t *testing.T) {
	for name, data := range claims(t) {
		if len(data) > 1024 {
			t.Errorf("%s: %d bytes are more than 1 KiB", name, len(data))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := read(data)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 16<<20 {
			t.Errorf("%s: %d bytes were allocated", name, spent)
		}
		if err == nil && len(m.Data) > 1024 {
			t.Errorf("%s: %d bytes", name, len(m.Data))
		}
		t.Logf("%s: %v; %d bytes", name, err, after.TotalAlloc-before.TotalAlloc)
	}
}

type noReaderAt struct{}

func (noReaderAt) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }
