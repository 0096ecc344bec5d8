package preflight

import (
	"debug/elf"
	"fmt"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
)

// damaged is a finding of the header's checks. The log names it in newer kernels.
func (m *module) damaged(text, format string, args ...any) *Finding {
	f := &Finding{Rule: ELFHeader, Severity: Fail, Errno: ENOEXEC, Text: text, From: m.loader.from}
	if !m.loader.silent {
		f.Dmesg = []string{fmt.Sprintf(format, args...)}
	}
	return f
}

// checkHeader is elf_validity_check, and of older kernels setup_load_info: all that
// is looked at before anything is believed. The order changed twice, see [era].
func checkHeader(_ *Check, m *module) (findings []Finding) {
	m.parsed = true
	checks := []func(*module) *Finding{
		(*module).checkIdent, (*module).checkTable, (*module).checkNameTable, (*module).checkFirstSection, (*module).checkSections,
		(*module).checkModinfo, (*module).checkSymtab, (*module).checkThisModule,
	}
	if m.loader.era == eraCache {
		checks = []func(*module) *Finding{
			(*module).checkIdent, (*module).checkTable, (*module).checkFirstSection, (*module).checkSections, (*module).checkNameTable,
			(*module).checkNames, (*module).checkModinfo, (*module).checkThisModule, (*module).checkSymtab, (*module).checkStrtab,
		}
	}
	for _, check := range checks {
		f := check(m)
		if f == nil {
			continue
		}
		findings = append(findings, *f)
		if f.Severity >= Crash && f.Rule != ThisModuleSize { // of all others the rest cannot be believed
			m.elf = nil
			break
		}
	}
	return findings
}

// The offsets of what is used of the header stand in package elf64.
const (
	identClass, identData = elf.EI_CLASS, elf.EI_DATA
	headerType            = 16
	headerMachine         = 18
	headerTable           = 40
	headerEntrySize       = 58
	headerEntries         = 60
	headerNames           = 62
)

// checkIdent looks at the first bytes. The byte order is not looked at by any
// kernel, the class where programs of 32 bits run too (elf_check_arch).
func (m *module) checkIdent() *Finding {
	d := m.data
	if len(d) < elf64.HeaderSize {
		return m.damaged(fmt.Sprintf("the file has %d bytes, too few for an ELF header", len(d)), "Invalid ELF header len %d", len(d))
	}
	if string(d[:4]) != elf.ELFMAG {
		return m.damaged("not an ELF file", `Invalid ELF header magic: != \x7fELF`)
	}
	if typ := elf64.Order.Uint16(d[headerType:]); typ != uint16(elf.ET_REL) {
		return m.damaged(fmt.Sprintf("an ELF file of type %v, not a relocatable object", elf.Type(typ)), "Invalid ELF header type: %d != 1", typ)
	}
	machine := elf.Machine(elf64.Order.Uint16(d[headerMachine:]))
	want := m.facts.Machine
	narrow := elf.Class(d[identClass]) != elf.ELFCLASS64
	if want != 0 && machine != want || narrow && machine == elf.EM_RISCV {
		f := m.damaged(wrongMachine(machine, want, narrow), "Invalid architecture in ELF header: %d", uint16(machine))
		f.Rule = WrongMachine
		return f
	}
	d[identClass], d[identData] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB) // as the loader takes them
	return nil
}

func wrongMachine(machine, want elf.Machine, narrow bool) string {
	text := "built for " + machineName(machine)
	if narrow {
		text += " with 32 bits"
	}
	if want == 0 {
		return text
	}
	return text + ", the kernel is for " + machineName(want)
}

// machineName is EM_X86_64 in lower case and without EM_.
func machineName(m elf.Machine) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// checkTable looks for the section table, and reads it.
func (m *module) checkTable() *Finding {
	d := m.data
	if size := elf64.Order.Uint16(d[headerEntrySize:]); size != elf64.SectionSize {
		return m.damaged(fmt.Sprintf("section headers of %d bytes, not %d", size, elf64.SectionSize), "Invalid ELF section header size")
	}
	off, count := elf64.Order.Uint64(d[headerTable:]), uint64(elf64.Order.Uint16(d[headerEntries:]))
	if off >= uint64(len(d)) || count*elf64.SectionSize > uint64(len(d))-off {
		return m.damaged("the section table lies outside the file: it is cut off", "Invalid ELF section header overflow")
	}
	names := elf64.Order.Uint16(d[headerNames:])
	if names == 0 || uint64(names) >= count {
		return m.damaged(fmt.Sprintf("there is no section %d for the names", names),
			"Invalid ELF section name index: %d || e_shstrndx (%d) >= e_shnum (%d)", names, names, count)
	}
	f, err := elf64.Parse(d)
	if err != nil {
		return m.damaged(err.Error(), "Invalid ELF section header overflow")
	}
	m.elf = f
	return nil
}

// checkNameTable looks at the section of the names.
func (m *module) checkNameTable() *Finding {
	s := &m.elf.Sections[elf64.Order.Uint16(m.data[headerNames:])]
	content := m.elf.Content(s)
	switch {
	case m.loader.era == eraCache && s.Type != elf.SHT_STRTAB:
		return m.damaged("the section of the names holds something else", "Invalid ELF section name table type: %d", uint32(s.Type))
	case s.Off > uint64(len(m.data)) || s.Size > uint64(len(m.data))-s.Off:
		return m.damaged("the names of the sections lie outside the file", "Invalid ELF section hdr(type %d)", uint32(s.Type))
	case s.Size == 0:
		return m.damaged("the sections have no names", "empty section name table")
	case len(content) == 0 || content[len(content)-1] != 0:
		return m.damaged("the names of the sections do not end", "ELF Spec violation: section name table isn't null terminated")
	}
	return nil
}

// checkFirstSection wants section 0 to be empty; the loader relies on it.
func (m *module) checkFirstSection() *Finding {
	if s := &m.elf.Sections[0]; s.Type != elf.SHT_NULL || s.Size != 0 || s.Addr != 0 {
		return m.damaged("the first entry of the section table is not empty",
			"ELF Spec violation: section 0 type(%d)!=SH_NULL or non-zero len or addr", uint32(s.Type))
	}
	return nil
}
