package slim_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/slim"
)

// full has one of all that can be in a module. The labels .Lhi and .Lsig are needed.
const full = `elf 64 le riscv flags=0x5
modinfo license=GPL
section .text flags=AX align=4 00000000 00000000 00000000
section .debug_info flags= 0102030405
section .debug_str flags=MS entsize=1 text="name\x00"
section .gdb_index flags= 07
section .debug_kept flags=A 08
section .BTF flags= 9feb0100
section .wide flags=AW align=64 0909
section .empty flags=A align=8192
section .zero flags=AW type=8 size=0x100 align=16
define .Lhi .text value=4 bind=local
define .Lgone .text value=8 bind=local
define .Lobject .wide size=2 type=1 bind=local
define .Ldebug .debug_info bind=local
define $d .debug_str bind=local
define $xrv64i2p1_m2p0 .text bind=local
define file.c * type=4 bind=local
define helper .text value=4 size=4 type=2 bind=local
define plain .text bind=local
define absolute * value=7 bind=local
label 300
define .Lglobal .text
export foo crc=0x12345678 gpl
need printk crc=0xdeadbeef
weak perhaps
reloc .text 0 R_RISCV_PCREL_HI20 printk
reloc .text 4 R_RISCV_PCREL_LO12_I .Lhi
reloc .debug_info 0 R_RISCV_32 .debug_str
reloc .debug_info 4 R_RISCV_32 .Lgone
reloc .wide 0 R_RISCV_64 .text 8
rel .wide 0 2 helper
`

// kinds are modules that differ in what must be written again.
func kinds(t testing.TB) map[string][]byte {
	plain := kotest.Must(t, full)
	return map[string][]byte{
		"plain":        plain,
		"signed":       kotest.Must(t, full+"signature id=2 0102030405060708\n"),
		"legacy":       kotest.Must(t, full+"signature algo=1 hash=4 id=1 signer=me keyid=0102 0304\n"),
		"x86":          kotest.Must(t, strings.NewReplacer("riscv", "x86_64", "R_RISCV_PCREL_HI20", "2", "R_RISCV_PCREL_LO12_I", "2", "R_RISCV_32", "10", "R_RISCV_64", "1").Replace(full)),
		"shared names": shareNames(plain),
		"groups":       withGroups(t),
		"numbers":      withNumbers(t),
		"addrsig": patch(kotest.Must(t, full+"section .llvm_addrsig flags= type=0x6fff4c03 0102\n"), ".llvm_addrsig",
			func(f *elf64.File, _ *elf64.Section, b []byte) { put(b, link, f, ".symtab") }),
		"linked order": patch(kotest.Must(t, full+"section __patchable flags=AW align=8 00\n"), "__patchable",
			func(f *elf64.File, _ *elf64.Section, b []byte) {
				put(b, link, f, ".wide")
				b[8] |= byte(elf.SHF_LINK_ORDER)
			}),
		"inactive": patch(plain, ".empty", func(_ *elf64.File, _ *elf64.Section, b []byte) { elf64.Order.PutUint32(b[4:], 0) }),
	}
}

// Offsets in an entry of the section table.
const (
	link = 40
	info = 44
)

// patch changes the entry of a section in the section table of a copy.
func patch(data []byte, name string, change func(f *elf64.File, s *elf64.Section, b []byte)) []byte {
	data = bytes.Clone(data)
	f, err := elf64.Parse(data)
	if err != nil {
		panic(err) // it is kotest's
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Name == name && i > 0 {
			change(f, s, data[f.Table+uint64(i)*elf64.SectionSize:])
			return data
		}
	}
	panic("no section " + name)
}

// put writes the number of a section to a field.
func put(b []byte, at int, f *elf64.File, name string) {
	elf64.Order.PutUint32(b[at:], number(f, name))
}

func number(f *elf64.File, name string) uint32 {
	for i := range f.Sections {
		if f.Sections[i].Name == name {
			return uint32(i)
		}
	}
	panic("no section " + name)
}

func symbolCalled(f *elf64.File, name string) uint32 {
	table := f.Symtab()
	symbols := elf64.Symbols(f.Content(table))
	for i := range symbols.Len() {
		if elf64.String(f.Content(f.Linked(table.Link)), symbols.At(i).Name) == name {
			return uint32(i)
		}
	}
	panic("no symbol " + name)
}

// shareNames makes one table of the two of names, as LLVM's assembler does.
func shareNames(data []byte) []byte {
	f, err := elf64.Parse(data)
	if err != nil {
		panic(err) // it is kotest's
	}
	strtab := number(f, ".strtab")
	symbols, sections := f.Content(&f.Sections[strtab]), f.Content(&f.Sections[f.Names])
	data = slices.Concat(data, symbols, sections)
	entries := data[f.Table:]
	for i := range f.Sections {
		elf64.Order.PutUint32(entries[i*elf64.SectionSize:], f.Sections[i].NameAt+uint32(len(symbols)))
	}
	clear(entries[:elf64.SectionSize])
	b := entries[strtab*elf64.SectionSize:]
	elf64.Order.PutUint64(b[24:], uint64(len(data)-len(symbols)-len(sections)))
	elf64.Order.PutUint64(b[32:], uint64(len(symbols)+len(sections)))
	elf64.Order.PutUint16(data[62:], uint16(strtab))
	return data
}

// withGroups has a group of which one section goes, and one of which all go.
func withGroups(t testing.TB) []byte {
	const groups = "section .group flags= type=17 align=4 entsize=4 01000000 00000000 00000000\n" +
		"section .group2 flags= type=17 align=4 entsize=4 01000000 00000000\n" +
		"define .Lsig .text bind=local\n"
	data := kotest.Must(t, strings.Replace(full, "define .Lhi", groups+"define .Lhi", 1))
	for name, members := range map[string][]string{".group": {".debug_info", ".wide"}, ".group2": {".debug_str"}} {
		data = patch(data, name, func(f *elf64.File, s *elf64.Section, b []byte) {
			put(b, link, f, ".symtab")
			elf64.Order.PutUint32(b[info:], symbolCalled(f, ".Lsig"))
			for i, member := range members {
				elf64.Order.PutUint32(f.Content(s)[4+4*i:], number(f, member))
			}
		})
	}
	return data
}

// withNumbers has the section of each other symbol in a table of its own.
func withNumbers(t testing.TB) []byte {
	count := 0
	data := kotest.Must(t, full)
	for range 2 {
		f, err := elf64.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		count = elf64.Symbols(f.Content(f.Symtab())).Len()
		data = kotest.Must(t, fmt.Sprintf("%ssection .symtab_shndx flags= type=18 align=4 %x\n", full, make([]byte, 4*count)))
	}
	return patch(data, ".symtab_shndx", func(f *elf64.File, s *elf64.Section, b []byte) {
		put(b, link, f, ".symtab")
		symbols, numbers := f.Content(f.Symtab()), f.Content(s)
		for i := 1; i < count; i += 2 {
			if b := symbols[i*elf64.SymbolSize+6:]; elf64.Order.Uint16(b) < uint16(elf.SHN_LORESERVE) {
				elf64.Order.PutUint32(numbers[4*i:], uint32(elf64.Order.Uint16(b)))
				elf64.Order.PutUint16(b, uint16(elf.SHN_XINDEX))
			}
		}
	})
}

// What stays of the module above, read by the standard library.
func TestStrip(t *testing.T) {
	for name, data := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			before := bytes.Clone(data)
			out, report, err := slim.Strip(data)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, data) {
				t.Error("the module was changed in place")
			}
			if err := check(data, out, report); err != nil {
				t.Error(err)
			}
			if want := name == "signed" || name == "legacy"; report.Unsigned != want {
				t.Errorf("unsigned: %v, want %v", report.Unsigned, want)
			}
			f, err := elf.NewFile(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			checkNames(t, f, name == "groups")
			again, report, err := slim.Strip(out)
			if err != nil || report.Changed() || !bytes.Equal(again, out) {
				t.Errorf("once more: %+v, %v", report, err)
			}
		})
	}
}

func checkNames(t *testing.T, f *elf.File, groups bool) {
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) != elf.STT_SECTION {
			got = append(got, s.Name)
		}
	}
	want := []string{".Lhi", ".Lobject", "$xrv64i2p1_m2p0", "file.c", "helper", "plain", "absolute",
		"__kstrtab_foo", "__kstrtabns_foo", "__ksymtab_foo", "__this_module", ".Lglobal", "foo", "__crc_foo", "printk", "perhaps"}
	if groups {
		want = append([]string{".Lsig"}, want...)
	}
	// where kotest puts what an export leaves behind is its own affair
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("symbols\n%q, want\n%q", got, want)
	}
	for _, s := range f.Sections {
		if strings.HasPrefix(s.Name, ".debug_") != (s.Name == ".debug_kept") || s.Name == ".gdb_index" || s.Name == ".group2" ||
			s.Name == ".rela.debug_info" || s.Name == ".llvm_addrsig" {
			t.Errorf("section %s is still there", s.Name)
		}
	}
	data, err := f.Section(".wide").Data()
	if err != nil || string(data) != "\x09\x09" {
		t.Errorf(".wide: % x, %v", data, err)
	}
}

// Modules that come back as they were.
func TestUntouched(t *testing.T) {
	const nothing = "elf 64 le riscv\nmodinfo license=GPL\nexport foo\nneed printk\n"
	for name, tt := range map[string]struct {
		text      string
		livepatch bool
	}{
		"nothing to do":         {nothing, false},
		"nothing to do, signed": {nothing + "signature id=2 0102\n", false},
		"livepatch field":       {full + "modinfo livepatch=Y\n", true},
		"livepatch section":     {full + "section .klp.rela.vmlinux..text flags=A 00\n", true},
		"livepatch relocations": {full + "section .other flags=A 00\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			data := kotest.Must(t, tt.text)
			if strings.Contains(tt.text, ".other") {
				data = patch(data, ".other", func(_ *elf64.File, _ *elf64.Section, b []byte) { b[10] |= 0x10 })
			}
			out, report, err := slim.Strip(data)
			if err != nil || report != (slim.Report{Livepatch: tt.livepatch}) || !bytes.Equal(out, data) {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}
