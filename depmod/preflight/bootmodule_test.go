//go:build unix

package preflight

import (
	"debug/elf"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
)

// A moduleSpec is a module in the making, for one kernel.
type moduleSpec struct {
	kotest.Module
	k    *bootKernel
	name string
}

// structNameMark stands before the name in struct module, in its list, which the
// loader fills itself.
const structNameMark = "kstage structure"

// plain is a module that loads: it has no code that would run, but room for it, and
// needs one symbol.
func (k *bootKernel) plain(name string) *moduleSpec {
	s := &moduleSpec{k: k, name: name}
	s.ThisModule = -1
	s.Modinfo = []string{"license=GPL", "depends=", "intree=Y", "name=" + name, "vermagic=" + k.facts.Vermagic.Value}
	s.Sections = []kotest.Section{
		{Name: ".text", Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Align: 8, Data: make([]byte, 64)},
		{Name: ".data", Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 8, Data: make([]byte, 64)},
		{Name: thisModule, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 64, Data: k.structModule(name)},
		{Name: ".debug", Data: make([]byte, 16)},
	}
	if k.is61() { // MODULE_SECTIONS
		for _, name := range []string{".plt", ".got", ".got.plt"} {
			s.Sections = append(s.Sections, kotest.Section{Name: name, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Data: []byte{0}})
		}
	}
	s.Symbols = []kotest.Symbol{
		{Kind: kotest.Version, Name: "module_layout", CRC: k.crc("module_layout")},
		{Kind: kotest.Need, Name: "_printk", CRC: k.crc("_printk")},
	}
	return s
}

// structModule is struct module with nothing but the name.
func (k *bootKernel) structModule(name string) []byte {
	b := make([]byte, k.moduleSize)
	copy(b[8:], structNameMark)
	copy(b[24:], name)
	return b
}

// crc is the checksum of a symbol that the kernel exports, 0 of others.
func (k *bootKernel) crc(symbol string) *uint64 {
	crc := uint64(k.facts.Exports[symbol].CRC)
	return &crc
}

func (s *moduleSpec) need(names ...string) {
	for _, name := range names {
		s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Need, Name: name, CRC: s.k.crc(name)})
	}
}

// weak adds a weak symbol that nobody exports.
func (s *moduleSpec) weak(name string) {
	s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Weak, Name: name})
}

// reloc adds a relocation of the next eight bytes of .text.
func (s *moduleSpec) reloc(typ uint32, symbol string, addend int64) {
	s.Relocs = append(s.Relocs, kotest.Reloc{Section: ".text", Offset: uint64(8 * len(s.Relocs)), Type: typ, Symbol: symbol, Addend: addend})
}

func (s *moduleSpec) section(name string) *kotest.Section {
	for i := range s.Sections {
		if s.Sections[i].Name == name {
			return &s.Sections[i]
		}
	}
	return nil
}

func (s *moduleSpec) removeSection(name string) {
	s.Sections = slices.DeleteFunc(s.Sections, func(x kotest.Section) bool { return x.Name == name })
}

// set gives a key of .modinfo other values, or takes it out.
func (s *moduleSpec) set(key string, values ...string) {
	s.Modinfo = slices.DeleteFunc(s.Modinfo, func(x string) bool { return strings.HasPrefix(x, key+"=") })
	for _, v := range values {
		s.Modinfo = append(s.Modinfo, key+"="+v)
	}
}

// symbol finds a symbol by its name.
func (s *moduleSpec) symbol(name string) *kotest.Symbol {
	for i := range s.Symbols {
		if s.Symbols[i].Name == name {
			return &s.Symbols[i]
		}
	}
	return nil
}

// sectionHeader gives the bytes of a section's header, by name.
func sectionHeader(file []byte, name string) []byte {
	f, err := elf64.Parse(file)
	if err != nil {
		panic(err)
	}
	at := elf64.Order.Uint64(file[headerTable:])
	for i := range f.Sections {
		if f.Sections[i].Name == name {
			return file[at+uint64(i)*elf64.SectionSize:][:elf64.SectionSize]
		}
	}
	panic("no section " + name)
}
