package modinfo_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

func read(b []byte) (*modinfo.Module, error) {
	return new(modinfo.Reader).Read(bytes.NewReader(b), int64(len(b)))
}

const everything = `
modinfo license=GPL
modinfo alias=pci:v00001AF4d*
modinfo alias=of:N*T*Cvirtio,mmio
modinfo depends=
modinfo loner
modinfo "empty="
label 3
export offered crc=0x12345678
export placed crc=0xcafebabe kcrctab gpl ns=NS
need printk crc=0x92997ed8
weak maybe
need plain
version module_layout crc=0x1
buildid 00ff10
`

func TestReadEveryMachine(t *testing.T) {
	for _, head := range []string{"64 le riscv", "32 le riscv", "64 be ppc64", "32 be mips", "64 le x86_64", "32 le arm"} {
		t.Run(head, func(t *testing.T) {
			m, err := read(kotest.Must(t, "elf "+head+"\n"+everything))
			if err != nil {
				t.Fatal(err)
			}
			want := &modinfo.Module{
				Size: m.Size, Class: m.Class, Data: m.Data, Machine: m.Machine,
				Fields: []modinfo.Field{{"license", "GPL"}, {"alias", "pci:v00001AF4d*"}, {"alias", "of:N*T*Cvirtio,mmio"},
					{"depends", ""}, {"loner", ""}, {"empty", ""}},
				// the __crc_ symbols of __kcrctab are local, so they stand first
				Exports: []modinfo.Export{{"placed", 0xcafebabe}, {"offered", 0x12345678}},
				Imports: []modinfo.Import{
					{Name: "printk", CRC: 0x92997ed8},
					{Name: "maybe", Bind: modinfo.Weak},
					{Name: "plain"},
					{Name: "module_layout", Bind: modinfo.Listed, CRC: 1},
				},
				BuildID: []byte{0, 0xff, 0x10},
			}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
			words := strings.Fields(head)
			if (m.Class == elf.ELFCLASS64) != (words[0] == "64") || (m.Data == elf.ELFDATA2LSB) != (words[1] == "le") {
				t.Errorf("class %v, byte order %v", m.Class, m.Data)
			}
			if got := strings.ToLower(strings.TrimPrefix(m.Machine.String(), "EM_")); got != words[2] {
				t.Errorf("machine %s", got)
			}
		})
	}
}

func TestGetAndAll(t *testing.T) {
	m, err := read(kotest.Must(t, everything))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := m.Get("alias"); v != "pci:v00001AF4d*" || !ok {
		t.Errorf("first alias %q, %v", v, ok)
	}
	if _, ok := m.Get("Alias"); ok {
		t.Error("keys are case-sensitive")
	}
	if got := slices.Collect(m.All("alias")); len(got) != 2 {
		t.Errorf("aliases %q", got)
	}
}

func TestImports(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []modinfo.Import
	}{
		{"a repeated record stays an entry of its own", "need a crc=1\nversion a crc=2",
			[]modinfo.Import{{"a", modinfo.Strong, 1}, {"a", modinfo.Listed, 2}}},
		{"extended versions", "extversions\nneed " + strings.Repeat("x", 200) + " crc=7\nversion module_layout crc=9",
			[]modinfo.Import{{strings.Repeat("x", 200), modinfo.Strong, 7}, {"module_layout", modinfo.ExtNamed, 9}}},
		{"odd __versions is ignored", "need a\nsection __versions 01020304",
			[]modinfo.Import{{"a", modinfo.Strong, 0}}},
		{"SPARC registers need nobody", "elf 64 be sparcv9\nneed g2 type=13\nneed a",
			[]modinfo.Import{{"a", modinfo.Strong, 0}}},
		{"no symbol table, no imports", "stripped\nversion module_layout crc=1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := read(kotest.Must(t, c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, m.Imports); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
		})
	}
}

func TestExportsWithoutVersions(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []modinfo.Export
	}{
		{"names of __ksymtab_strings", "export a\nexport b gpl", []modinfo.Export{{Name: "a"}, {Name: "b"}}},
		{"stripped", "stripped\nexport a crc=5", []modinfo.Export{{Name: "a"}}},
		{"one __crc_ hides the rest", "export a crc=5\nexport b", []modinfo.Export{{"a", 5}}},
		{"an undefined __crc_ counts", "need __crc_a", []modinfo.Export{{"a", 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := read(kotest.Must(t, c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, m.Exports); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
		})
	}
}

func TestPackings(t *testing.T) {
	plain := kotest.Must(t, everything)
	half := len(plain) / 2
	want, err := read(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		packing modinfo.Compression
		data    []byte
	}{
		{"gzip", modinfo.Gzip, kotest.Gzip(plain)},
		{"gzip of two members", modinfo.Gzip, append(kotest.Gzip(plain[:half]), kotest.Gzip(plain[half:])...)},
		{"zstd", modinfo.Zstd, kotest.Zstd(plain)},
		{"zstd of two frames", modinfo.Zstd, append(kotest.Zstd(plain[:half]), kotest.Zstd(plain[half:])...)},
		{"xz", modinfo.XZ, kotest.XZ(plain)},
		{"xz of two blocks", modinfo.XZ, kotest.XZ(plain[:half], plain[half:])},
		{"xz of two streams", modinfo.XZ, append(kotest.XZ(plain[:half]), kotest.XZ(plain[half:])...)},
		{"xz with an empty stream and padding", modinfo.XZ, append(append(kotest.XZ(plain), kotest.XZ()...), 0, 0, 0, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(c.data)
			if err != nil {
				t.Fatal(err)
			}
			if got.Compression != c.packing {
				t.Errorf("packing %v, want %v", got.Compression, c.packing)
			}
			got.Compression = modinfo.None
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("plain -, packed +:\n" + diff)
			}
		})
	}
}

// TestReaderAgain uses one Reader for good and bad files in turn: what one
// leaves behind must not show in the next.
func TestReaderAgain(t *testing.T) {
	plain := kotest.Must(t, everything)
	want, err := read(plain)
	if err != nil {
		t.Fatal(err)
	}
	var r modinfo.Reader
	for round := range 3 {
		for _, pack := range []func([]byte) []byte{bytes.Clone, kotest.Gzip, kotest.Zstd, func(b []byte) []byte { return kotest.XZ(b) }} {
			data := pack(plain)
			got, err := r.Read(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(round, err)
			}
			got.Compression = modinfo.None
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if _, err := r.Read(bytes.NewReader(data[:len(data)/2]), int64(len(data)/2)); err == nil {
				t.Error("half a file was accepted")
			}
		}
	}
}

func TestBadModules(t *testing.T) {
	plain := kotest.Must(t, everything)
	change := func(off int, with ...byte) []byte {
		b := bytes.Clone(plain)
		copy(b[off:], with)
		return b
	}
	flip := func(b []byte, off int) []byte {
		b[off] ^= 0x55
		return b
	}
	xz := kotest.XZ(plain)
	for _, c := range []struct {
		name string
		data []byte
		kind error
		text string
	}{
		{"empty", nil, modinfo.ErrTooShort, "it has 0 bytes"},
		{"five bytes", []byte("\x7fELF\x02"), modinfo.ErrTooShort, "it has 5 bytes"},
		{"text", []byte("<!DOCTYPE html>"), modinfo.ErrNotELF, `"<!DOCTYP"`},
		{"only the magic", []byte("\x7fELF\x02\x01"), modinfo.ErrNotELF, ""},
		{"class 3", change(4, 3), modinfo.ErrMalformed, "unknown class 3 at byte 4"},
		{"byte order 0", change(5, 0), modinfo.ErrMalformed, "unknown byte order 0 at byte 5"},
		{"cut-off header", plain[:40], modinfo.ErrMalformed, "the header is cut off"},
		{"cut-off file", plain[:len(plain)-1], modinfo.ErrMalformed, "is it cut off?"},
		{"section headers of 63 bytes", change(58, 63), modinfo.ErrMalformed, "of 63 bytes, expected 64"},
		{"section table at the end of the address space", change(40, 255, 255, 255, 255, 255, 255, 255, 255), modinfo.ErrMalformed, "section table"},
		{"no name section", change(62, 0, 0), modinfo.ErrMalformed, "no section 0"},
		{"name section 65535", change(62, 255, 255), modinfo.ErrMalformed, "no section 65535"},
		{"cut-off gzip", kotest.Gzip(plain)[:60], modinfo.ErrPacking, "gzip data is cut off"},
		{"damaged gzip", flip(kotest.Gzip(plain), 40), modinfo.ErrPacking, "gzip"},
		{"cut-off zstd", kotest.Zstd(plain)[:60], modinfo.ErrPacking, "zstd"},
		{"damaged xz", flip(bytes.Clone(xz), 200), modinfo.ErrPacking, "xz"},
		{"cut-off xz", xz[:len(xz)-20], modinfo.ErrPacking, "xz data is cut off"},
		{"xz without its footer", xz[:len(xz)-12], modinfo.ErrPacking, "xz data is cut off"},
		{"junk behind xz", append(bytes.Clone(xz), "junk"...), modinfo.ErrPacking, "xz"},
		{"gzip of text", kotest.Gzip([]byte("just text")), modinfo.ErrNotELF, "just te"},
		{"gzip of nothing", kotest.Gzip(nil), modinfo.ErrNotELF, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := read(c.data)
			if m != nil || !errors.Is(err, c.kind) {
				t.Fatalf("got %v, %v; want %v", m, err, c.kind)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q does not say %q", err, c.text)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 4<<20)
	for name, data := range map[string][]byte{
		"plain": zeros,
		"gzip":  kotest.Gzip(zeros),
		"zstd":  kotest.Zstd(zeros),
		"xz":    kotest.XZ(zeros),
	} {
		t.Run(name, func(t *testing.T) {
			r := modinfo.Reader{MaxSize: 1 << 20}
			if _, err := r.Read(bytes.NewReader(data), int64(len(data))); !errors.Is(err, modinfo.ErrTooLarge) {
				t.Errorf("got %v, want ErrTooLarge", err)
			}
		})
	}
}

// A frame of zstd that claims a content of 1 GiB in 20 bytes costs next to
// nothing.
func TestClaimsCostNothing(t *testing.T) {
	claim := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 1, 0, 0}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := modinfo.Read(bytes.NewReader(claim), int64(len(claim)))
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; err == nil || allocated > 4<<20 {
		t.Errorf("error %v, %d bytes allocated", err, allocated)
	}
}

// A thousand symbols whose names are the ends of one long string would take a
// thousand times its room.
func TestOverlappingNames(t *testing.T) {
	var symbols strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&symbols, "%02x%02x%s", i&0xff, i>>8, strings.Repeat("00", 22))
	}
	text := "stripped\nsection .symtab " + symbols.String() + "\nsection .strtab text=\"" + strings.Repeat("a", 100000) + "\\x00\""
	_, err := read(kotest.Must(t, text))
	if !errors.Is(err, modinfo.ErrMalformed) || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("got %v", err)
	}
}

func ExampleRead() {
	ko, err := kotest.Build("modinfo license=GPL\nmodinfo firmware=acme/blob.bin\nneed printk")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := modinfo.Read(bytes.NewReader(ko), int64(len(ko)))
	if err != nil {
		fmt.Println(err)
		return
	}
	for name := range m.All("firmware") {
		fmt.Println("firmware:", name)
	}
	for _, imp := range m.Imports {
		fmt.Println("needs:", imp.Name)
	}
	// Output:
	// firmware: acme/blob.bin
	// needs: printk
}
