//go:build unix

package preflight

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
)

// put32 and put64 write into a part of b, and give b.
func put32(b, at []byte, v uint32) []byte {
	elf64.Order.PutUint32(at, v)
	return b
}

func put64(b, at []byte, v uint64) []byte {
	elf64.Order.PutUint64(at, v)
	return b
}

// headerCases tries values in each field of the ELF header, and cuts the file.
func headerCases() (cases []bootCase) {
	for _, f := range []struct {
		name   string
		at     int
		size   int
		values []uint64
	}{
		{"magic0", 0, 1, []uint64{0}}, {"magic3", 3, 1, []uint64{'f'}},
		{"class", elf.EI_CLASS, 1, []uint64{0, 1, 3}}, {"data", elf.EI_DATA, 1, []uint64{0, 2}}, {"ident_version", elf.EI_VERSION, 1, []uint64{0, 2}},
		{"osabi", elf.EI_OSABI, 1, []uint64{9}}, {"abiversion", elf.EI_ABIVERSION, 1, []uint64{9}},
		{"type", headerType, 2, []uint64{0, 2, 3, 4, 0xff01}}, {"machine", headerMachine, 2, []uint64{0, 3, 62, 183, 258, 0xffff}},
		{"version", 20, 4, []uint64{0, 2}}, {"entry", 24, 8, []uint64{1}}, {"phoff", 32, 8, []uint64{64}},
		{"shoff", headerTable, 8, []uint64{0, 1, 1 << 20, 1<<63 + 8, 1<<64 - 64}}, {"flags", 48, 4, []uint64{0, 5, 0x1f, 0xffffffff}},
		{"ehsize", 52, 2, []uint64{0, 128}}, {"phentsize", 54, 2, []uint64{56}}, {"phnum", 56, 2, []uint64{1}},
		{"shentsize", headerEntrySize, 2, []uint64{0, 40, 65}}, {"shnum", headerEntries, 2, []uint64{0, 1, 200, 0xffff}},
		{"shstrndx", headerNames, 2, []uint64{0, 1, 200, 0xfff1, 0xffff}},
	} {
		for _, v := range f.values {
			cases = append(cases, bootCase{name: fmt.Sprintf("h_%s_%x", f.name, v), change: func(b []byte) []byte {
				for i := range f.size {
					b[f.at+i] = byte(v >> (8 * i))
				}
				return b
			}})
		}
	}
	for _, n := range []int{0, 1, 4, 39, 63, 64, 65, 1000} {
		cases = append(cases, bootCase{name: fmt.Sprintf("cut_%d", n), change: func(b []byte) []byte { return b[:n] }})
	}
	for _, n := range []int{1, 64, 65} {
		cases = append(cases, bootCase{name: fmt.Sprintf("cut_end_%d", n), change: func(b []byte) []byte { return b[:len(b)-n] }})
	}
	return append(cases, bootCase{name: "longer", change: func(b []byte) []byte { return append(b, "and more"...) }})
}

// Offsets in a section's header.
const (
	headName, headType, headFlags, headAddr, headOffset, headSize, headLink, headInfo, headEntSize = 0, 4, 8, 16, 24, 32, 40, 44, 56
)

// sectionCases tries values in the headers of the sections that the loader looks at.
func sectionCases() (cases []bootCase) {
	for _, f := range []struct {
		section, name string
		at            int
		wide          bool
		values        []uint64
	}{
		{"", "name", headName, false, []uint64{1}}, {"", "type", headType, false, []uint64{1}}, {"", "size", headSize, true, []uint64{1}},
		{"", "addr", headAddr, true, []uint64{1}}, {"", "offset", headOffset, true, []uint64{64}}, {"", "link", headLink, false, []uint64{1}},
		{".symtab", "type", headType, false, []uint64{0, 1, 11}}, {".symtab", "link", headLink, false, []uint64{0, 1, 200}},
		{".symtab", "offset", headOffset, true, []uint64{1 << 30, 1<<64 - 8}}, {".symtab", "entsize", headEntSize, true, []uint64{0}},
		{".symtab", "info", headInfo, false, []uint64{0}},
		{".strtab", "offset", headOffset, true, []uint64{1 << 30}}, {".strtab", "size", headSize, true, []uint64{1 << 40}},
		{".shstrtab", "size", headSize, true, []uint64{0, 8}}, {".shstrtab", "offset", headOffset, true, []uint64{1 << 30}},
		{".shstrtab", "type", headType, false, []uint64{1}},
		{".text", "size", headSize, true, []uint64{1 << 30, 1<<64 - 1}}, {".text", "offset", headOffset, true, []uint64{1 << 30}},
		{".data", "name", headName, false, []uint64{250}},
		{".text", "flags", headFlags, true, []uint64{7}}, {".debug", "flags", headFlags, true, []uint64{5, 7, 1 << 31}},
		{".modinfo", "flags", headFlags, true, []uint64{0}}, {".modinfo", "type", headType, false, []uint64{0, 8}}, {".modinfo", "size", headSize, true, []uint64{0, 8}},
		{thisModule, "flags", headFlags, true, []uint64{0, 1}}, {thisModule, "type", headType, false, []uint64{0, 7, 8}},
		{thisModule, "size", headSize, true, []uint64{0, 8, 1217}}, {"__versions", "flags", headFlags, true, []uint64{0}},
		{"__versions", "size", headSize, true, []uint64{0, 64, 100}},
	} {
		for _, v := range f.values {
			// Before 6.4 the size of struct module is not looked at, and the kernel faults.
			newer := f.section == thisModule && (f.at == headType && v == uint64(elf.SHT_NOBITS) || f.at == headSize && v < 640)
			cases = append(cases, bootCase{name: fmt.Sprintf("s_%s_%s_%x", bytes.TrimLeft([]byte(f.section), "._"), f.name, v), newer: newer, change: func(b []byte) []byte {
				h := sectionHeader(b, f.section)
				if f.wide {
					return put64(b, h[f.at:], v)
				}
				return put32(b, h[f.at:], uint32(v))
			}})
		}
	}
	return append(cases,
		bootCase{name: "names_unended", change: func(b []byte) []byte {
			h := sectionHeader(b, ".shstrtab")
			return put64(b, h[headSize:], elf64.Order.Uint64(h[headSize:])-1)
		}},
		bootCase{name: "no_symbols", build: func(s *moduleSpec) { s.Stripped = true }},
		bootCase{name: "two_symtabs", change: func(b []byte) []byte {
			copy(sectionHeader(b, ".debug")[4:], sectionHeader(b, ".symtab")[4:])
			return b
		}},
		bootCase{name: "no_this_module", build: func(s *moduleSpec) { s.removeSection(thisModule) }},
		bootCase{name: "two_this_modules", newer: true, build: func(s *moduleSpec) { s.Sections = append(s.Sections, *s.section(thisModule)) }},
		bootCase{name: "two_modinfos", build: func(s *moduleSpec) {
			s.Sections = append(s.Sections, kotest.Section{Name: ".modinfo", Flags: elf.SHF_ALLOC, Data: []byte("license=GPL\x00")})
		}},
		bootCase{name: "no_modinfo", build: func(s *moduleSpec) { s.Modinfo = nil }},
		bootCase{name: "this_module_smaller", build: func(s *moduleSpec) {
			t := s.section(thisModule)
			if !s.k.is61() {
				t.Data = t.Data[:len(t.Data)-8]
			}
		}},
		bootCase{name: "this_module_larger", build: func(s *moduleSpec) {
			t := s.section(thisModule)
			t.Data = append(t.Data, make([]byte, 64)...)
		}},
		bootCase{name: "percpu_section", build: func(s *moduleSpec) {
			s.Sections = append(s.Sections, kotest.Section{Name: ".data..percpu", Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 8, Data: make([]byte, 8)})
		}})
}
