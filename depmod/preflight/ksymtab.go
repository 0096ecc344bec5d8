package preflight

import (
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/kernel"
)

// readExports reads what the module offers to others, as this kernel would see it.
// There are two forms (include/linux/export-internal.h):
//
//	__ksymtab, __kcrctab; __ksymtab_gpl, __kcrctab_gpl    for GPL compatible modules only
//	__ksymtab, __kcrctab, __kflagstab                     bit 0 of the flags stands for that
//
// Each loader reads one of them, and takes no notice of the other's tables.
func (m *module) readExports() []export {
	flagged, known := m.knowsExportFlags()
	list := m.readExportTable("")
	if flags := m.allocated("__kflagstab"); flags != nil && (flagged || !known) {
		const gplOnly = 1
		for i, flag := range m.elf.Content(flags) {
			if i < len(list) {
				list[i].gpl = flag&gplOnly != 0
			}
		}
	}
	if !flagged {
		gpl := m.readExportTable("_gpl")
		for i := range gpl {
			gpl[i].gpl = true
		}
		list = append(list, gpl...)
	}
	named := list[:0]
	for _, e := range list {
		if e.name != "" {
			named = append(named, e)
		}
	}
	return named
}

// knowsExportFlags tells whether the kernel reads __kflagstab instead of the tables
// for GPL compatible modules.
func (m *module) knowsExportFlags() (flagged, known bool) {
	if said, known := m.facts.Says(kernel.SaysObsoleteSection); known {
		return said, true
	}
	major, minor, known := release(m.facts)
	switch {
	case !known || major == 7 && minor < 2: // the first one is not known
		return false, false
	default:
		return major >= 7, true
	}
}

// readExportTable reads the tables whose names end in suffix. The entries are zero in
// the file, relocations fill them:
//
//	symbol, name, namespace    addresses of 8 bytes, or of 4 relative to their place;
//	                           no namespace before 5.4
func (m *module) readExportTable(suffix string) []export {
	index, table := m.sectionIndex("__ksymtab" + suffix)
	if table == nil {
		return nil
	}
	relas := m.relasOf(index)
	size := m.exportFieldSize(relas)
	entry := 3 * size
	if major, minor, known := release(m.facts); known && (major < 5 || major == 5 && minor < 4) {
		entry = 2 * size
	}
	list := make([]export, uint64(len(m.elf.Content(table)))/entry)
	for i := range relas.Len() {
		r := relas.At(i)
		at := r.Off / entry
		if at >= uint64(len(list)) {
			continue
		}
		switch r.Off % entry {
		case size:
			list[at].name = string(m.pointee(r))
		case 2 * size:
			list[at].namespace = string(m.pointee(r))
		}
	}
	m.readCRCs(suffix, list)
	return list
}

// exportFieldSize tells the form by the first relocation: machines have one of both.
func (m *module) exportFieldSize(relas elf64.Relas) uint64 {
	if relas.Len() == 0 {
		return 8
	}
	switch t := relas.Type(0); m.elf.Machine {
	case elf.EM_RISCV:
		if t == uint32(elf.R_RISCV_64) {
			return 8
		}
	case elf.EM_X86_64:
		if t == uint32(elf.R_X86_64_64) {
			return 8
		}
	case elf.EM_AARCH64:
		if t == uint32(elf.R_AARCH64_ABS64) {
			return 8
		}
	case elf.EM_LOONGARCH:
		if t == uint32(elf.R_LARCH_64) {
			return 8
		}
	}
	return 4
}

// readCRCs reads the checksums of exports: words in a table of their own. Older
// kernels' modules have zeros there, which relocations fill with the values of
// absolute symbols.
func (m *module) readCRCs(suffix string, list []export) {
	index, table := m.sectionIndex("__kcrctab" + suffix)
	if table == nil {
		return
	}
	content := m.elf.Content(table)
	for i := range list {
		if 4*i+4 > len(content) {
			break
		}
		list[i].crc, list[i].hasCRC = elf64.Order.Uint32(content[4*i:]), true
	}
	relas := m.relasOf(index)
	for i := range relas.Len() {
		r := relas.At(i)
		if at := r.Off / 4; at < uint64(len(list)) && uint64(r.Symbol) < uint64(m.symbols.Len()) {
			if s := m.symbols.At(int(r.Symbol)); elf.SectionIndex(s.Section) == elf.SHN_ABS {
				list[at].crc, list[at].hasCRC = uint32(s.Value+uint64(r.Addend)), true
			}
		}
	}
}

// allocated finds a section that is loaded (find_sec); nil when there is none.
func (m *module) allocated(name string) *elf64.Section {
	_, s := m.sectionIndex(name)
	return s
}

// sectionIndex is allocated, and gives the section's number too.
func (m *module) sectionIndex(name string) (uint32, *elf64.Section) {
	for i := 1; i < len(m.elf.Sections); i++ {
		if s := &m.elf.Sections[i]; s.Flags&elf.SHF_ALLOC != 0 && s.Name == name {
			return uint32(i), s
		}
	}
	return 0, nil
}

// relasOf gives the relocations of a section.
func (m *module) relasOf(index uint32) elf64.Relas {
	for i := range m.elf.Sections {
		if s := &m.elf.Sections[i]; s.Type == elf.SHT_RELA && s.Info == index {
			return elf64.Relas(m.elf.Content(s))
		}
	}
	return nil
}

// pointee gives the text that a relocation points to.
func (m *module) pointee(r elf64.Rela) []byte {
	if uint64(r.Symbol) >= uint64(m.symbols.Len()) {
		return nil
	}
	s := m.symbols.At(int(r.Symbol))
	section := m.elf.Linked(uint32(s.Section))
	if section == nil {
		return nil
	}
	return textAt(m.elf.Content(section), s.Value+uint64(r.Addend))
}

// checkObsoleteTables warns of tables of exports that this kernel does not read.
func checkObsoleteTables(_ *Check, m *module) (findings []Finding) {
	if flagged, known := m.knowsExportFlags(); !known || !flagged {
		return nil
	}
	for _, name := range []string{"__ksymtab_gpl", "__kcrctab_gpl"} {
		if m.allocated(name) == nil {
			continue
		}
		findings = append(findings, Finding{Rule: LegacyGPLSection, Severity: Warn, Section: name, From: m.facts.Release.From.Source,
			Text:  fmt.Sprintf("this kernel ignores %s: others will not find the symbols that it exports with EXPORT_SYMBOL_GPL", name),
			Hint:  "rebuild it against this kernel",
			Dmesg: []string{fmt.Sprintf("%s: ignoring obsolete section %s", m.name, name)}})
	}
	return findings
}
