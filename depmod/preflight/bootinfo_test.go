//go:build unix

package preflight

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
)

// modinfoCases tries what the loader reads of .modinfo.
func modinfoCases() (cases []bootCase) {
	magic := func(name string, change func(string) []string) {
		cases = append(cases, bootCase{name: "magic_" + name, build: func(s *moduleSpec) { s.set("vermagic", change(s.k.facts.Vermagic.Value)...) }})
	}
	replace := func(old, now string) func(string) []string {
		return func(m string) []string { return []string{strings.Replace(m, old, now, 1)} }
	}
	magic("absent", func(string) []string { return nil })
	magic("empty", func(string) []string { return []string{""} })
	magic("one_word", func(string) []string { return []string{"6.12.0"} })
	magic("two", func(m string) []string { return []string{"6.0 mod_unload", m} })
	magic("two_good_first", func(m string) []string { return []string{m, "6.0 mod_unload"} })
	magic("release", replace("6.1", "5.1"))
	magic("smp", replace(" mod_unload", " SMP preempt mod_unload"))
	magic("no_unload", replace("mod_unload ", ""))
	magic("no_modversions", replace("modversions ", ""))
	magic("riscv64", replace("riscv", "riscv64"))
	magic("blank", replace(" ", "  "))
	magic("blank_end", func(m string) []string { return []string{m + " "} })
	cases = append(cases,
		bootCase{name: "magic_release_no_versions", build: func(s *moduleSpec) {
			s.set("vermagic", strings.Replace(s.k.facts.Vermagic.Value, "6.1", "5.1", 1))
			for i := range s.Symbols {
				s.Symbols[i].CRC = nil
			}
		}},
		bootCase{name: "magic_release_ignored", build: func(s *moduleSpec) { s.set("vermagic", "1.0") }, flags: IgnoreVermagic},
		bootCase{name: "magic_release_versions_ignored", build: func(s *moduleSpec) { s.set("vermagic", strings.Replace(s.k.facts.Vermagic.Value, "6.1", "5.1", 1)) }, flags: IgnoreModversions},
		bootCase{name: "ignore_both", flags: IgnoreModversions | IgnoreVermagic},
		bootCase{name: "flags_8", flags: 8},
		bootCase{name: "name_field_differs", build: func(s *moduleSpec) {
			s.set("name", "other_field")
			s.set("vermagic", "1.0 wrong")
		}},
		bootCase{name: "name_struct_differs", build: func(s *moduleSpec) {
			s.section(thisModule).Data = s.k.structModule("other_struct")
			s.set("license", "Other")
			s.need("kstage_absent")
		}},
		bootCase{name: "name_field_absent", build: func(s *moduleSpec) {
			s.set("name")
			s.set("vermagic", "1.0 wrong")
		}},
		bootCase{name: "name_dash", build: func(s *moduleSpec) {
			s.section(thisModule).Data = s.k.structModule("name-dash")
			s.need("kstage_absent")
		}})
	for _, key := range []string{"depends", "license", "intree", "name"} {
		cases = append(cases, bootCase{name: "absent_" + key, build: func(s *moduleSpec) { s.set(key) }},
			bootCase{name: "twice_" + key, build: func(s *moduleSpec) {
				s.Modinfo = append(s.Modinfo, key+"=second")
			}})
	}
	for _, field := range []string{"staging=Y", "staging=", "livepatch=Y", "livepatch=N", "test=Y", "retpoline=Y", "srcversion=0123", "import_ns=SOME",
		"import_ns=module:other", "alias=pci:*", "firmware=absent.bin", "softdep=pre: other", "version=1", "no equals sign", "=", "intree=N", "parm=x:what"} {
		name := "field_" + strings.NewReplacer("=", "_", ":", "_", " ", "_", "*", "", ".", "_").Replace(field)
		cases = append(cases, bootCase{name: name, build: func(s *moduleSpec) { s.Modinfo = append(s.Modinfo, field) }})
	}
	return cases
}

// licenseCases tries licenses without and with a symbol that asks for one.
func licenseCases() (cases []bootCase) {
	for i, license := range []string{"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
		"BSD", "GPLv2", "gpl", "GPL ", "", "Proprietary", "MIT", "GPL-2.0"} {
		cases = append(cases,
			bootCase{name: fmt.Sprintf("license%d", i), build: func(s *moduleSpec) { s.set("license", license) }},
			bootCase{name: fmt.Sprintf("license%d_gpl_only", i), build: func(s *moduleSpec) {
				s.set("license", license)
				s.need("kobject_create_and_add", "kobject_put")
			}})
	}
	return append(cases, bootCase{name: "license_absent_gpl_only", build: func(s *moduleSpec) {
		s.set("license")
		s.need("kobject_create_and_add")
	}})
}

// versionCases are about checksums of symbols.
func versionCases() []bootCase {
	wrong := func(s *moduleSpec, name string) { *s.symbol(name).CRC ^= 1 }
	return []bootCase{
		{name: "crc_one", build: func(s *moduleSpec) { wrong(s, "_printk") }},
		{name: "crc_two", build: func(s *moduleSpec) {
			s.need("kfree")
			wrong(s, "_printk")
			wrong(s, "kfree")
		}},
		{name: "crc_then_unknown", build: func(s *moduleSpec) {
			s.need("kstage_absent")
			wrong(s, "_printk")
		}},
		{name: "unknown_then_crc", build: func(s *moduleSpec) {
			s.Symbols = append([]kotest.Symbol{{Kind: kotest.Need, Name: "kstage_absent", CRC: new(uint64)}}, s.Symbols...)
			wrong(s, "_printk")
		}},
		{name: "crc_layout", build: func(s *moduleSpec) { wrong(s, "module_layout") }},
		{name: "crc_layout_and_magic", build: func(s *moduleSpec) {
			wrong(s, "module_layout")
			s.set("vermagic", "1.0 wrong")
		}},
		{name: "crc_high_bits", build: func(s *moduleSpec) { *s.symbol("_printk").CRC |= 1 << 40 }},
		{name: "crc_ignored", build: func(s *moduleSpec) { wrong(s, "_printk") }, flags: IgnoreModversions},
		{name: "entry_absent", build: func(s *moduleSpec) { s.symbol("_printk").CRC = nil }},
		{name: "entry_absent_layout", build: func(s *moduleSpec) { s.symbol("module_layout").CRC = nil }},
		{name: "entry_twice", build: func(s *moduleSpec) {
			crc := *s.k.crc("_printk") ^ 1
			s.Symbols = append([]kotest.Symbol{{Kind: kotest.Version, Name: "_printk", CRC: &crc}}, s.Symbols...)
		}},
		{name: "layout_last", build: func(s *moduleSpec) { s.Symbols[0], s.Symbols[1] = s.Symbols[1], s.Symbols[0] }},
		{name: "no_versions", build: func(s *moduleSpec) {
			for i := range s.Symbols {
				s.Symbols[i].CRC = nil
			}
		}},
		{name: "extended_only", build: func(s *moduleSpec) { s.ExtendedVersions = true }},
		{name: "extended_too", build: func(s *moduleSpec) {
			s.Sections = append(s.Sections, kotest.Section{Name: extCRCsSection, Flags: elf.SHF_ALLOC, Align: 4, Data: make([]byte, 4)},
				kotest.Section{Name: extNamesSection, Flags: elf.SHF_ALLOC, Data: []byte("_printk\x00")})
		}},
	}
}

// btfCases are about type information.
func btfCases() (cases []bootCase) {
	for name, data := range map[string]string{
		"empty": "", "short": "\x9f\xeb\x01\x00", "magic": "\x00\x00\x01\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"no_types": "\x9f\xeb\x01\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"version":  "\x9f\xeb\x02\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"flags":    "\x9f\xeb\x01\x01\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"claims":   btf(24, 0, 1<<16, 0, 1), "gap": btf(24, 4, 0, 0, 1), "far": btf(24, 1<<16, 0, 0, 1), "strings": btf(24, 0, 0, 0, 1<<16), "rest": btf(24, 0, 0, 0, 0),
		"no_zero": btf(24, 0, 0, 0, 1)[:24] + "x", "strings_first": btf(24, 1, 0, 0, 1), "no_strings": btf(24, 0, 0, 1, 0), "header": btf(200, 0, 0, 0, 1),
		"header_long": btf(25, 0, 0, 0, 0), "header_longer": btf(28, 0, 0, 0, 1)[:24] + "\x01\x00\x00\x00\x00", "header_short": btf(8, 0, 0, 0, 0)[:8],
		"no_data": btf(24, 0, 0, 0, 0)[:24],
	} {
		for _, flags := range []elf.SectionFlag{0, elf.SHF_ALLOC} {
			cases = append(cases, bootCase{name: fmt.Sprintf("btf_%s_%d", name, flags), build: func(s *moduleSpec) {
				s.Sections = append(s.Sections, kotest.Section{Name: ".BTF", Flags: flags, Data: []byte(data)})
			}})
		}
	}
	return sorted(cases)
}

// btf is a header with its fields, and the empty string behind it.
func btf(header, typeOff, typeSize, textOff, textSize uint32) string {
	b := []byte{0x9f, 0xeb, 1, 0}
	for _, v := range []uint32{header, typeOff, typeSize, textOff, textSize} {
		b = elf64.Order.AppendUint32(b, v)
	}
	return string(append(b, 0))
}

// compressedCases hand compressed files to the kernel.
func compressedCases() (cases []bootCase) {
	for name, pack := range map[string]func([]byte) []byte{
		"gzip": kotest.Gzip, "zstd": kotest.Zstd, "xz": func(b []byte) []byte { return kotest.XZ(b) }, "plain": func(b []byte) []byte { return b },
		"xz_cut":     func(b []byte) []byte { b = kotest.XZ(b); return b[:len(b)/2] },
		"xz_cut_end": func(b []byte) []byte { b = kotest.XZ(b); return b[:len(b)-1] },
		"xz_head":    func(b []byte) []byte { return kotest.XZ(b)[:6] },
		"xz_crc64": func(b []byte) []byte {
			b = kotest.XZ(b)
			b[7] = 4
			return b
		},
		"xz_damaged": func(b []byte) []byte { b = kotest.XZ(b); b[200] ^= 1; return b },
	} {
		for _, flags := range []int{0, CompressedFile} {
			cases = append(cases, bootCase{name: fmt.Sprintf("packed_%s_%d", name, flags), change: pack, flags: flags})
		}
	}
	return sorted(cases)
}

// sorted puts cases in the order of their names: those from a map have none.
func sorted(cases []bootCase) []bootCase {
	slices.SortFunc(cases, func(a, b bootCase) int { return strings.Compare(a.name, b.name) })
	return cases
}
