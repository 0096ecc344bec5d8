//go:build unix

package preflight

import (
	"debug/elf"

	"github.com/kstage/kstage/internal/kotest"
)

// symbolCases are about what a module needs.
func symbolCases() []bootCase {
	weakBy := func(typ elf.R_RISCV) func(*moduleSpec) {
		return func(s *moduleSpec) {
			s.weak("kstage_absent")
			s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
			s.reloc(uint32(typ), "kstage_absent", 0)
		}
	}
	return []bootCase{
		{name: "absent_one", build: func(s *moduleSpec) { s.need("kstage_absent") }},
		{name: "absent_two", build: func(s *moduleSpec) { s.need("kstage_absent", "kstage_absent_too") }},
		{name: "absent_and_type", build: func(s *moduleSpec) {
			s.need("kstage_absent")
			s.reloc(200, "_printk", 0)
		}},
		{name: "absent_unnamed", build: func(s *moduleSpec) { s.need("") }},
		{name: "absent_typed", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Need, Name: "kstage_absent", Type: elf.STT_FUNC})
		}},
		{name: "weak_absent", build: func(s *moduleSpec) { s.weak("kstage_absent") }},
		{name: "weak_there", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Weak, Name: "kfree", CRC: s.k.crc("kfree")})
		}},
		{name: "weak_there_no_crc", build: func(s *moduleSpec) { s.weak("kfree") }},
		{name: "weak_gpl_only", build: func(s *moduleSpec) {
			s.set("license", "BSD")
			s.weak("kobject_create_and_add")
		}},
		{name: "weak_by_64", build: weakBy(elf.R_RISCV_64)},
		{name: "weak_by_32", build: weakBy(elf.R_RISCV_32)},
		{name: "weak_by_call", build: weakBy(elf.R_RISCV_CALL)},
		{name: "weak_by_call_plt", build: weakBy(elf.R_RISCV_CALL_PLT)},
		{name: "weak_by_pcrel", build: weakBy(elf.R_RISCV_PCREL_HI20)},
		{name: "weak_by_got", build: weakBy(elf.R_RISCV_GOT_HI20)},
		{name: "weak_by_jal", build: weakBy(elf.R_RISCV_JAL)},
		{name: "weak_by_hi20", build: weakBy(elf.R_RISCV_HI20)},
		{name: "common", build: func(s *moduleSpec) { s.Symbols = append(s.Symbols, common("shared")) }},
		{name: "common_lto", build: func(s *moduleSpec) { s.Symbols = append(s.Symbols, common("__gnu_lto_slim")) }},
		{name: "common_then_absent", build: func(s *moduleSpec) {
			s.Symbols = append(s.Symbols, common("shared"))
			s.need("kstage_absent")
		}},
		{name: "local_undefined", build: func(s *moduleSpec) { s.need(".L0 ") }},
		{name: "gpl_only_two", build: func(s *moduleSpec) {
			s.set("license", "Proprietary")
			s.need("kobject_create_and_add", "kstage_absent", "kobject_put")
		}},
		{name: "namespace_not_imported", build: func(s *moduleSpec) { s.need(s.k.spaced()) }},
		{name: "namespace_imported", build: func(s *moduleSpec) {
			symbol := s.k.spaced()
			s.need(symbol)
			s.Modinfo = append(s.Modinfo, "import_ns=OTHER", "import_ns="+s.k.facts.Exports[symbol].Namespace)
		}},
		{name: "namespace_part", build: func(s *moduleSpec) {
			symbol := s.k.spaced()
			s.need(symbol)
			s.Modinfo = append(s.Modinfo, "import_ns="+s.k.facts.Exports[symbol].Namespace+"X")
		}},
		{name: "namespace_and_crc", build: func(s *moduleSpec) {
			symbol := s.k.spaced()
			s.need(symbol)
			*s.symbol(symbol).CRC ^= 1
		}},
		{name: "write_and_code", build: func(s *moduleSpec) {
			s.Sections = append(s.Sections, kotest.Section{Name: ".both", Flags: elf.SHF_ALLOC | elf.SHF_WRITE | elf.SHF_EXECINSTR, Data: make([]byte, 8)})
		}},
		{name: "write_and_code_unloaded", build: func(s *moduleSpec) {
			s.Sections = append(s.Sections, kotest.Section{Name: ".both", Flags: elf.SHF_WRITE | elf.SHF_EXECINSTR, Data: make([]byte, 8)})
		}},
	}
}

// common is a symbol that was left for the linker to place.
func common(name string) kotest.Symbol {
	return kotest.Symbol{Kind: kotest.Define, Name: name, Section: kotest.Common, Value: 8, Size: 8, Bind: elf.STB_GLOBAL, Type: elf.STT_OBJECT}
}

// spaced is the first symbol of the kernel that is in a namespace.
func (k *bootKernel) spaced() string {
	first := ""
	for name, e := range k.facts.Exports {
		if e.Namespace != "" && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// exportCases are about what a module offers, and about those that take it. Modules
// that stay loaded come before those that need them.
func exportCases() []bootCase {
	offers := func(symbols ...kotest.Symbol) func(*moduleSpec) {
		return func(s *moduleSpec) {
			for _, x := range symbols {
				x.Kind, x.CRCTable = kotest.Export, true
				s.Symbols = append(s.Symbols, x)
			}
		}
	}
	crc := func(v uint64) *uint64 { return &v }
	takes := func(license string, symbols ...kotest.Symbol) func(*moduleSpec) {
		return func(s *moduleSpec) {
			s.set("license", license)
			for _, x := range symbols {
				x.Kind = kotest.Need
				s.Symbols = append(s.Symbols, x)
			}
		}
	}
	free, gpl := kotest.Symbol{Name: "kt_free", CRC: crc(1)}, kotest.Symbol{Name: "kt_gpl", CRC: crc(2), GPL: true}
	spaced, owned := kotest.Symbol{Name: "kt_spaced", CRC: crc(3), Namespace: "KT_SPACE"}, kotest.Symbol{Name: "kt_owned", CRC: crc(4)}
	plainGPL := kotest.Symbol{Name: "kobject_create_and_add"}
	return []bootCase{
		{name: "taker_too_early", build: takes("GPL", free)},
		{name: "offer", build: offers(free, gpl, spaced), keep: true},
		{name: "offer_again", build: func(s *moduleSpec) { s.section(thisModule).Data = s.k.structModule("offer") }, keep: true},
		{name: "taker", build: takes("GPL", free, gpl)},
		{name: "taker_wrong_crc", build: takes("GPL", kotest.Symbol{Name: "kt_free", CRC: crc(9)})},
		{name: "taker_no_crc", build: takes("GPL", kotest.Symbol{Name: "kt_free"})},
		{name: "taker_bsd", build: takes("BSD", free)},
		{name: "taker_bsd_gpl", build: takes("BSD", free, gpl)},
		{name: "taker_space", build: takes("GPL", spaced)},
		{name: "taker_space_imported", build: func(s *moduleSpec) {
			takes("GPL", spaced)(s)
			s.Modinfo = append(s.Modinfo, "import_ns=KT_SPACE")
		}},
		{name: "duplicate_module", build: offers(free)},
		{name: "duplicate_gpl", build: offers(kotest.Symbol{Name: "kt_free", CRC: crc(1), GPL: true})},
		{name: "duplicate_kernel", build: offers(kotest.Symbol{Name: "kfree", CRC: crc(1)})},
		{name: "duplicate_kernel_gpl", build: offers(kotest.Symbol{Name: "kobject_create_and_add", CRC: crc(1), GPL: true})},
		{name: "duplicate_two", build: offers(kotest.Symbol{Name: "kt_fresh", CRC: crc(1)}, kotest.Symbol{Name: "kt_gpl", CRC: crc(1)}, kotest.Symbol{Name: "kt_free", CRC: crc(1)})},
		{name: "duplicate_own", build: offers(kotest.Symbol{Name: "kt_same", CRC: crc(1)}, kotest.Symbol{Name: "kt_same", CRC: crc(1), GPL: true})},
		{name: "offer_no_crc", build: offers(kotest.Symbol{Name: "kt_bare"})},
		{name: "offer_no_crc_gpl", build: offers(kotest.Symbol{Name: "kt_bare", GPL: true})},
		{name: "offer_one_no_crc", build: offers(kotest.Symbol{Name: "kt_bare", GPL: true}, kotest.Symbol{Name: "kt_crc", CRC: crc(1)})},
		{name: "owner", build: func(s *moduleSpec) {
			s.set("license", "Owned")
			offers(owned)(s)
		}, keep: true},
		{name: "owned_taker", build: takes("GPL", owned)},
		{name: "owned_taker_free", build: takes("GPL", owned, free)},
		{name: "owned_taker_gpl_first", build: func(s *moduleSpec) {
			s.need(plainGPL.Name)
			takes("GPL", owned)(s)
		}},
		{name: "owned_taker_gpl_last", build: func(s *moduleSpec) {
			takes("GPL", owned)(s)
			s.need(plainGPL.Name)
		}},
		{name: "owned_taker_module_gpl", build: takes("GPL", gpl, owned)},
		{name: "owned_taker_bsd", build: takes("BSD", owned)},
	}
}
