package slim

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
)

// open reads the section table, and makes sure that the sections lie apart from each
// other and that there is one symbol table.
func open(data []byte) (*object, error) {
	f, err := elf64.Parse(data)
	if err != nil {
		return nil, err
	}
	o := &object{File: f}
	switch {
	case f.Type != elf.ET_REL:
		return nil, fmt.Errorf("not a relocatable object but %v", f.Type)
	case elf64.Order.Uint16(data[56:]) != 0:
		return nil, errors.New("a relocatable object with program headers")
	case len(bytes.Trim(data[f.Table:][:elf64.SectionSize], "\x00")) > 0:
		return nil, fmt.Errorf("the section header at %d, the first, is not empty", f.Table)
	}
	for i := 1; i < len(f.Sections); i++ {
		if err := o.note(i); err != nil {
			return nil, err
		}
		o.places = append(o.places, i)
	}
	if o.symtab == 0 {
		return nil, errors.New("there is no symbol table")
	}
	return o, o.checkPlaces()
}

// note looks at a section by itself.
func (o *object) note(i int) error {
	s := &o.Sections[i]
	if s.Align&(s.Align-1) != 0 {
		return fmt.Errorf("%s: the alignment %d is no power of two", o.called(i), s.Align)
	}
	switch s.Type {
	case elf.SHT_SYMTAB:
		if o.symtab != 0 {
			return fmt.Errorf("%s and %s are both symbol tables", o.called(o.symtab), o.called(i))
		}
		o.symtab, o.strtab = i, int(s.Link)
	case elf.SHT_SYMTAB_SHNDX:
		if o.shndx != 0 {
			return fmt.Errorf("%s and %s both have numbers of sections", o.called(o.shndx), o.called(i))
		}
		o.shndx = i
	}
	if o.hasContent(i) && o.Content(s) == nil {
		return fmt.Errorf("%s: %d bytes at %d do not lie inside the file", o.called(i), s.Size, s.Off)
	}
	return nil
}

// hasContent tells whether a section takes space in the file.
func (o *object) hasContent(i int) bool {
	s := &o.Sections[i]
	return s.Type != elf.SHT_NULL && s.Type != elf.SHT_NOBITS && s.Size > 0
}

// called names a section in an error.
func (o *object) called(i int) string {
	name := o.Sections[i].Name
	return fmt.Sprintf("section %d (%s)", i, name[:min(len(name), 80)])
}

// checkPlaces makes sure that no byte of the file has two meanings.
func (o *object) checkPlaces() error {
	slices.SortStableFunc(o.places, func(a, b int) int { return cmp.Compare(o.Sections[a].Off, o.Sections[b].Off) })
	end, before := uint64(elf64.HeaderSize), "the ELF header"
	table := o.Table
	tableEnd := table + uint64(len(o.Sections))*elf64.SectionSize
	if table < end {
		return fmt.Errorf("the section table at %d overlaps the ELF header", table)
	}
	for _, i := range o.places {
		s := &o.Sections[i]
		if !o.hasContent(i) {
			continue
		}
		if s.Off < end {
			return fmt.Errorf("%s at %d overlaps %s", o.called(i), s.Off, before)
		}
		end, before = s.Off+s.Size, o.called(i)
		if s.Off < tableEnd && end > table {
			return fmt.Errorf("%s at %d overlaps the section table", o.called(i), s.Off)
		}
	}
	return nil
}

// isDebug tells whether a section is for debuggers or linkers, and for nobody else.
func isDebug(s *elf64.Section) bool {
	if s.Type == shtLLVMAddrsig {
		return true
	}
	return s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_ALLOC == 0 &&
		(strings.HasPrefix(s.Name, ".debug_") || strings.HasPrefix(s.Name, ".zdebug_") || s.Name == ".gdb_index")
}

// shtLLVMAddrsig is the type of .llvm_addrsig: which symbols' addresses are compared,
// for a linker that folds equal functions.
const shtLLVMAddrsig elf.SectionType = 0x6fff4c03

// chooseSections finds out which sections go, and numbers the others.
func (o *object) chooseSections() error {
	o.gone = make([]bool, len(o.Sections))
	for i := range o.Sections {
		o.gone[i] = isDebug(&o.Sections[i]) && i != o.Names
	}
	for i := range o.Sections {
		if err := o.checkLinks(i); err != nil {
			return err
		}
		if s := &o.Sections[i]; isRelocation(s) && o.gone[s.Info] {
			o.gone[i] = true
		}
	}
	for i := range o.Sections {
		if o.Sections[i].Type == elf.SHT_GROUP && len(o.members(i)) == 0 {
			o.gone[i] = true
		}
	}
	o.number = make([]uint32, len(o.Sections))
	next := uint32(0)
	for i := range o.Sections {
		if o.gone[i] {
			o.sectionsGone++
			continue
		}
		o.number[i] = next
		next++
	}
	return o.checkKept()
}

func isRelocation(s *elf64.Section) bool { return s.Type == elf.SHT_RELA || s.Type == elf.SHT_REL }

// entrySize is what an entry has in the sections that are looked into.
var entrySize = map[elf.SectionType]uint64{elf.SHT_SYMTAB: elf64.SymbolSize, elf.SHT_RELA: elf64.RelaSize, elf.SHT_REL: 16,
	elf.SHT_GROUP: 4, elf.SHT_SYMTAB_SHNDX: 4}

// checkLinks makes sure that what a section says of others is true and understood.
func (o *object) checkLinks(i int) error {
	s := &o.Sections[i]
	count := uint32(len(o.Sections))
	size := entrySize[s.Type]
	_, looked := entrySize[s.Type]
	if looked && s.Type != elf.SHT_SYMTAB && s.Link != uint32(o.symtab) {
		return fmt.Errorf("%s: it does not belong to the symbol table but to section %d", o.called(i), s.Link)
	}
	strings := s.Link == uint32(o.strtab) && s.Type != elf.SHT_SYMTAB || s.Link == uint32(o.Names)
	switch {
	case s.Link >= count:
		return fmt.Errorf("%s: there is no section %d that it is linked to", o.called(i), s.Link)
	case looked && s.Size%size != 0:
		return fmt.Errorf("%s: %d bytes are no whole number of entries", o.called(i), s.Size)
	case looked && s.EntSize != size && s.Type != elf.SHT_GROUP && s.Type != elf.SHT_SYMTAB_SHNDX:
		return fmt.Errorf("%s: entries of %d bytes, not %d", o.called(i), s.EntSize, size)
	case (isRelocation(s) || s.Flags&elf.SHF_INFO_LINK != 0) && s.Info >= count:
		return fmt.Errorf("%s: there is no section %d that it is about", o.called(i), s.Info)
	case isRelocation(s) && (s.Info == 0 || s.Info == uint32(i)):
		return fmt.Errorf("%s: relocations for section %d", o.called(i), s.Info)
	case !looked && s.Link != 0 && s.Link == uint32(o.symtab) && !o.gone[i]:
		return fmt.Errorf("%s: how it uses the symbol table is not known (type %v)", o.called(i), s.Type)
	case !looked && s.Link != 0 && strings && !o.gone[i]:
		return fmt.Errorf("%s: how it uses the names is not known (type %v)", o.called(i), s.Type)
	case s.Type == elf.SHT_GROUP:
		return o.checkGroup(i)
	}
	return nil
}

// checkGroup looks at the sections of a group: flags, then their numbers.
func (o *object) checkGroup(i int) error {
	b := o.Content(&o.Sections[i])
	if len(b) == 0 {
		return fmt.Errorf("%s: a group without flags", o.called(i))
	}
	for at := 4; at < len(b); at += 4 {
		if n := elf64.Order.Uint32(b[at:]); n == 0 || n >= uint32(len(o.Sections)) {
			return fmt.Errorf("%s: there is no section %d that it has in the group", o.called(i), n)
		}
	}
	return nil
}

// members are the sections of a group that stay.
func (o *object) members(i int) []uint32 {
	var all []uint32
	b := o.Content(&o.Sections[i])
	for at := 4; at < len(b); at += 4 {
		if n := elf64.Order.Uint32(b[at:]); !o.gone[n] {
			all = append(all, n)
		}
	}
	return all
}

// checkKept makes sure that no section that stays speaks of one that goes.
func (o *object) checkKept() error {
	for i := range o.Sections {
		s := &o.Sections[i]
		switch {
		case o.gone[i]:
		case o.gone[s.Link]:
			return fmt.Errorf("%s: it is linked to %s", o.called(i), o.called(int(s.Link)))
		case s.Flags&elf.SHF_INFO_LINK != 0 && o.gone[s.Info]:
			return fmt.Errorf("%s: it is about %s", o.called(i), o.called(int(s.Info)))
		}
	}
	return nil
}
