package preflight

import (
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/internal/elf64"
)

// checkSections wants each section to lie inside the file.
func (m *module) checkSections() *Finding {
	size := uint64(len(m.data))
	for i := 1; i < len(m.elf.Sections); i++ {
		s := &m.elf.Sections[i]
		if s.Type == elf.SHT_NULL || s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Type == elf.SHT_SYMTAB && m.loader.era != eraCache && m.elf.Linked(s.Link) == nil {
			return m.badLink(s)
		}
		if s.Off > size || s.Size > size-s.Off {
			f := m.damaged(fmt.Sprintf("section %d, %s, lies outside the file: it is cut off or damaged", i, s.Name),
				"Invalid ELF section in module (section %d type %d)", i, uint32(s.Type))
			f.Section = s.Name
			return f
		}
		if m.loader.era != eraCache && !m.hasName(i) {
			if f := m.namelessSection(i); f != nil {
				return f
			}
		}
	}
	return nil
}

func (m *module) badLink(s *elf64.Section) *Finding {
	return m.damaged("the symbol table names no section of its strings",
		"Invalid ELF sh_link!=SHN_UNDEF(%d) or (sh_link(%d) >= hdr->e_shnum(%d)", s.Link, s.Link, len(m.elf.Sections))
}

// checkNames wants each section's name to lie among the names.
func (m *module) checkNames() *Finding {
	for i := range m.elf.Sections {
		if m.elf.Sections[i].Type != elf.SHT_NULL && !m.hasName(i) {
			return m.badName(i)
		}
	}
	return nil
}

// hasName tells whether a section's name lies among the names.
func (m *module) hasName(i int) bool {
	names := m.elf.Sections[elf64.Order.Uint16(m.data[headerNames:])].Size
	table := m.data[elf64.Order.Uint64(m.data[headerTable:]):]
	return uint64(elf64.Order.Uint32(table[i*elf64.SectionSize:])) < names
}

// namelessSection is a section whose name lies outside the names: from 6.4 to 6.12 the
// loader compares it all the same, and faults behind the last page of the file.
func (m *module) namelessSection(i int) *Finding {
	const page = 4096
	names := m.elf.Sections[elf64.Order.Uint16(m.data[headerNames:])].Off
	at := names + uint64(elf64.Order.Uint32(m.data[elf64.Order.Uint64(m.data[headerTable:]):][i*elf64.SectionSize:]))
	switch {
	case m.loader.era == eraSize && at >= (uint64(len(m.data))+page-1)&^(page-1):
		f := m.badName(i)
		f.Severity, f.Errno, f.Dmesg = Crash, 0, nil
		return f
	case m.elf.Sections[i].Flags&elf.SHF_ALLOC != 0:
		return m.badName(i)
	}
	return nil
}

func (m *module) badName(i int) *Finding {
	return m.damaged(fmt.Sprintf("the name of section %d lies outside the names", i),
		"Invalid ELF section name in module (section %d type %d)", i, uint32(m.elf.Sections[i].Type))
}

// count gives how many sections have a name, and the last of them. From 6.4 to 6.12 those
// without content are passed over; before and after the type does not matter.
func (m *module) count(name string) (n int, last *elf64.Section) {
	for i := 1; i < len(m.elf.Sections); i++ {
		s := &m.elf.Sections[i]
		if s.Name == name && (m.loader.era != eraSize || s.Type != elf.SHT_NULL && s.Type != elf.SHT_NOBITS) {
			n, last = n+1, s
		}
	}
	return n, last
}

// checkModinfo wants one .modinfo at most, and takes the module's name from there.
func (m *module) checkModinfo() *Finding {
	if n, _ := m.count(".modinfo"); n > 1 && m.loader.era != eraThisModule {
		return m.damaged(fmt.Sprintf("%d sections .modinfo", n), "Only one .modinfo section must exist.")
	}
	m.readFields()
	m.infoName = m.name
	if name := m.modinfo["name"]; name != "" {
		m.name, m.infoName, m.named = name, name, true
	}
	return nil
}

// whose is how messages name a module before its struct module was looked at.
func (m *module) whose() string {
	if m.named {
		return m.infoName
	}
	return "(missing .modinfo section or name field)"
}

// checkSymtab wants a symbol table.
func (m *module) checkSymtab() *Finding {
	n := 0
	for i := range m.elf.Sections {
		if m.elf.Sections[i].Type == elf.SHT_SYMTAB {
			n++
		}
	}
	if n == 1 || n > 1 && m.loader.era == eraThisModule {
		return nil
	}
	text := "the symbol table is missing"
	if n > 1 {
		text = fmt.Sprintf("%d symbol tables", n)
	}
	return &Finding{Rule: Stripped, Severity: Fail, Errno: ENOEXEC, Text: text, From: m.loader.from,
		Dmesg: []string{m.whose() + ": module has no symbols (stripped?)"}}
}

// checkStrtab wants the symbols to have a section of strings.
func (m *module) checkStrtab() *Finding {
	s := m.elf.Symtab()
	strings := m.elf.Linked(s.Link)
	if strings == nil {
		return m.badLink(s)
	}
	if strings.Type != elf.SHT_STRTAB {
		return m.damaged("the names of the symbols are no section of strings", "Invalid ELF symbol string table type: %d", uint32(strings.Type))
	}
	return nil
}

const thisModule = ".gnu.linkonce.this_module"

// checkThisModule looks for the room of struct module. Older kernels want it to be
// there (find_sec: only sections that are loaded), later ones once and of the right size.
func (m *module) checkThisModule() *Finding {
	n, s := m.count(thisModule)
	alloc := s != nil && s.Flags&elf.SHF_ALLOC != 0
	if m.loader.era == eraThisModule {
		if !alloc {
			f := m.damaged("no section "+thisModule+": not a kernel module", "%s: No module found in object", m.whose())
			f.Dmesg = []string{m.whose() + ": No module found in object"} // even where others are silent
			return f
		}
		m.nameFrom(s)
		return m.checkSize(s)
	}
	only := "Only"
	if m.loader.era == eraCache {
		only = "Exactly"
	}
	switch {
	case n != 1:
		return m.damaged(fmt.Sprintf("%d sections %s, not one: not a kernel module", n, thisModule),
			"module %s: %s one %s section must exist.", m.whose(), only, thisModule)
	case s.Type == elf.SHT_NOBITS:
		return m.damaged("section "+thisModule+" is empty", "module %s: %s section must have a size set", m.whose(), thisModule)
	case !alloc:
		return m.damaged("section "+thisModule+" is not one to load", "module %s: %s must occupy memory during process execution", m.whose(), thisModule)
	}
	f := m.checkSize(s)
	m.nameFrom(s)
	return f
}

// nameFrom takes the name from struct module (include/linux/module.h; 64 bit):
//
//	state 4 bytes, padding, list 16, name 56
func (m *module) nameFrom(s *elf64.Section) {
	const at, size = 24, 56
	content := m.elf.At(s.Off, s.Size) // whatever its type, as the loader takes it
	if len(content) < at+size {
		return
	}
	name := elf64.String(content[at:at+size], 0)
	if name == "" {
		return
	}
	m.name = name
	if !m.named {
		m.infoName, m.named = name, true
	}
}

// checkSize compares the size of struct module. Before 6.4 nobody did, and the
// kernel uses what it takes for its own.
func (m *module) checkSize(s *elf64.Section) *Finding {
	want := m.facts.ModuleSize
	if want == 0 || s.Size == want {
		return nil
	}
	f := &Finding{Rule: ThisModuleSize, Severity: Warn, Section: thisModule, From: m.facts.ModuleSizeFrom.Source,
		Text: fmt.Sprintf("struct module has %d bytes, in the kernel %d", s.Size, want)}
	if m.loader.era == eraThisModule {
		f.Text += ": the loader of this kernel does not notice, and uses it as its own"
		return f
	}
	f.Severity, f.Errno = Fail, ENOEXEC
	f.Dmesg = []string{fmt.Sprintf("module %s: %s section size must match the kernel's built struct module size at run time", m.whose(), thisModule)}
	return f
}
