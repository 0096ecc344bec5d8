//go:build unix

package preflight

import (
	"debug/elf"
	"fmt"
	"slices"

	"github.com/kstage/kstage/internal/kotest"
)

// allBootCases are those for kernels without further arguments. Each list begins with
// what must load, so that a fault of the generator shows.
func allBootCases() []bootCase {
	return slices.Concat(
		[]bootCase{{name: "plain"}},
		relocCases(), relocSectionCases(), headerCases(), sectionCases(), modinfoCases(), licenseCases(), versionCases(),
		symbolCases(), exportCases(), paramCases(), btfCases(), compressedCases(), signatureCases(),
	)
}

func blacklistCases() (cases []bootCase) {
	for _, name := range []string{"plain", "black_one", "black_two", "black_three", "black", "black_one1"} {
		cases = append(cases, bootCase{name: name})
	}
	cases = append(cases,
		bootCase{name: "black_field", build: func(s *moduleSpec) { s.set("name", "black_one") }},
		bootCase{name: "black_struct", build: func(s *moduleSpec) { s.section(thisModule).Data = s.k.structModule("black_one") }},
		bootCase{name: "black_unnamed", build: func(s *moduleSpec) {
			s.set("name")
			s.section(thisModule).Data = s.k.structModule("black_one")
		}})
	return cases
}

// relocCases tries each type against a function of the kernel, a place of the module,
// and a number.
func relocCases() (cases []bootCase) {
	types := []uint32{191, 192, 255, 256, 1 << 31, 1<<32 - 1}
	for t := range uint32(67) {
		types = append(types, t)
	}
	for _, t := range types {
		for _, symbol := range []string{"_printk", ".text", "number", ""} {
			if t == 60 && (symbol == "_printk" || symbol == ".text") || t == 61 && symbol == "number" {
				continue // see crashCases
			}
			cases = append(cases, bootCase{name: fmt.Sprintf("reloc%d_%s", t, map[string]string{"_printk": "kernel", ".text": "own", "number": "number", "": "none"}[symbol]),
				build: func(s *moduleSpec) {
					s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "number", Section: "*", Value: 0x12345678, Bind: 1})
					s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
					s.reloc(t, symbol, 0)
				}})
		}
	}
	return cases
}

// relocSectionCases are about where relocations stand.
func relocSectionCases() []bootCase {
	const relax, unknown = uint32(elf.R_RISCV_RELAX), 200
	in := func(section string, typ uint32) kotest.Reloc {
		return kotest.Reloc{Section: section, Type: typ, Symbol: "_printk"}
	}
	return []bootCase{
		{name: "unknown_in_debug", build: func(s *moduleSpec) { s.Relocs = []kotest.Reloc{in(".debug", unknown)} }},
		{name: "unknown_in_modinfo", build: func(s *moduleSpec) { s.Relocs = []kotest.Reloc{in(".modinfo", unknown)} }},
		{name: "unknown_in_versions", build: func(s *moduleSpec) { s.Relocs = []kotest.Reloc{in("__versions", unknown)} }},
		{name: "unknown_in_data", build: func(s *moduleSpec) { s.Relocs = []kotest.Reloc{in(".data", unknown)} }},
		{name: "two_unknown", build: func(s *moduleSpec) { s.Relocs = []kotest.Reloc{in(".data", 250), in(".text", unknown)} }},
		{name: "rel_in_data", build: func(s *moduleSpec) {
			s.Relocs = []kotest.Reloc{{Section: ".data", Type: 2, Symbol: "_printk", NoAddend: true}}
		}},
		{name: "rel_in_debug", build: func(s *moduleSpec) {
			s.Relocs = []kotest.Reloc{{Section: ".debug", Type: 2, Symbol: "_printk", NoAddend: true}}
		}},
		{name: "rela_info_0", build: relocated(relax), change: func(b []byte) []byte { return put32(b, sectionHeader(b, ".rela.text")[44:], 0) }},
		{name: "rela_empty", build: relocated(unknown), change: func(b []byte) []byte { return put64(b, sectionHeader(b, ".rela.text")[32:], 0) }},
		{name: "lower_half_first", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "upper", Section: ".text", Value: 16})
			s.reloc(relax, ".text", 0)
			s.reloc(uint32(elf.R_RISCV_PCREL_LO12_I), "upper", 0)
			s.reloc(uint32(elf.R_RISCV_PCREL_HI20), "_printk", 0)
		}},
		{name: "lower_half_elsewhere", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "upper", Section: ".text", Value: 0})
			s.reloc(uint32(elf.R_RISCV_PCREL_HI20), "_printk", 0)
			s.reloc(relax, ".text", 0)
			s.Relocs = append(s.Relocs, kotest.Reloc{Section: ".data", Type: uint32(elf.R_RISCV_PCREL_LO12_I), Symbol: "upper"})
		}},
		{name: "lower_half_store", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "upper", Section: ".text", Value: 0})
			s.reloc(uint32(elf.R_RISCV_PCREL_HI20), "_printk", 0)
			s.reloc(uint32(elf.R_RISCV_PCREL_LO12_S), "upper", 0)
		}},
		{name: "error_value", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "minus", Section: "*", Value: 1<<64 - 2, Bind: elf.STB_GLOBAL})
			s.reloc(relax, "minus", 0)
		}},
		{name: "error_value_weak", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "minus", Section: "*", Value: 1<<64 - 2, Bind: elf.STB_WEAK})
			s.reloc(unknown, "minus", 0)
		}},
		{name: "error_value_edge", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "minus", Section: "*", Value: 1<<64 - 4096, Bind: elf.STB_GLOBAL})
			s.reloc(relax, "minus", 0)
		}},
		{name: "far_addend", build: func(s *moduleSpec) {
			s.reloc(uint32(elf.R_RISCV_PCREL_HI20), "_printk", -1<<40)
		}, unpredicted: true},
		{name: "far_addend_call", build: func(s *moduleSpec) {
			s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
			s.reloc(uint32(elf.R_RISCV_CALL_PLT), "_printk", 1<<40)
		}, unpredicted: true},
		{name: "pair", build: func(s *moduleSpec) {
			s.Relocs = []kotest.Reloc{{Section: ".data", Type: 35, Symbol: "_printk"}, {Section: ".data", Type: 39, Symbol: ".text"}}
		}},
		{name: "uleb_pair", build: func(s *moduleSpec) {
			s.Relocs = []kotest.Reloc{{Section: ".data", Type: 60, Symbol: ".text", Addend: 300}, {Section: ".data", Type: 61, Symbol: ".text"}}
		}},
		{name: "plt32_far", build: func(s *moduleSpec) {
			s.reloc(relax, ".text", 0)
			s.reloc(59, "", 0x1000)
		}, unpredicted: true},
		{name: "no_plt", build: func(s *moduleSpec) { s.removeSection(".plt") }},
		{name: "no_got", build: func(s *moduleSpec) { s.removeSection(".got") }},
		{name: "no_got_plt", build: func(s *moduleSpec) { s.removeSection(".got.plt") }},
	}
}

// relocated has two relocations, the second of a type.
func relocated(typ uint32) func(*moduleSpec) {
	return func(s *moduleSpec) {
		s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
		s.reloc(typ, "_printk", 0)
	}
}
