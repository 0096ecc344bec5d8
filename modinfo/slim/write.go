package slim

import (
	"debug/elf"

	"github.com/kstage/kstage/internal/elf64"
)

// A place is where a section comes to lie in the new file.
type place struct{ off, size uint64 }

// maxAlign is the most that an offset in the file is aligned to. The loader reads the
// file to the beginning of a page, so that more would not be kept in memory anyway.
const maxAlign = 4096

// write makes the new file; nil when it would not be smaller than the old one.
//
//	ELF header
//	contents of the sections that stay, in the order of the old file
//	section table
func (o *object) write() []byte {
	o.names.build()
	if o.sectionNames != o.names {
		o.sectionNames.build()
	}
	places, end := o.layOut()
	table := alignUp(end, 8)
	kept := len(o.Sections) - o.sectionsGone
	size := table + uint64(kept)*elf64.SectionSize
	if size >= uint64(len(o.Data)) {
		return nil
	}
	out := make([]byte, size)
	copy(out, o.Data[:elf64.HeaderSize])
	elf64.Order.PutUint64(out[40:], table)
	elf64.Order.PutUint16(out[60:], uint16(kept))
	elf64.Order.PutUint16(out[62:], uint16(o.number[o.Names]))
	for _, i := range o.places {
		if !o.gone[i] && o.hasContent(i) {
			o.writeContent(out[places[i].off:][:places[i].size], i)
		}
	}
	for _, i := range o.places {
		if !o.gone[i] {
			o.writeHeader(out[table+uint64(o.number[i])*elf64.SectionSize:], i, places[i])
		}
	}
	return out
}

// layOut gives each section that stays its place; one without content gets the place
// at which it would begin, as from ld.
func (o *object) layOut() (places []place, end uint64) {
	places = make([]place, len(o.Sections))
	end = elf64.HeaderSize
	for _, i := range o.places {
		if o.gone[i] {
			continue
		}
		off := alignUp(end, o.Sections[i].Align)
		places[i] = place{off, o.newSize(i)}
		end = off
		if o.hasContent(i) {
			end += places[i].size
		}
	}
	return places, end
}

func alignUp(off, align uint64) uint64 {
	align = min(max(align, 1), maxAlign)
	return (off + align - 1) &^ (align - 1)
}

// newSize is the size of a section's content in the new file.
func (o *object) newSize(i int) uint64 {
	s := &o.Sections[i]
	switch {
	case i == o.strtab:
		return uint64(len(o.names.new))
	case i == o.Names:
		return uint64(len(o.sectionNames.new))
	case i == o.symtab:
		return uint64(o.kept) * elf64.SymbolSize
	case i == o.shndx:
		return uint64(o.kept) * 4
	case s.Type == elf.SHT_GROUP:
		return 4 + 4*uint64(len(o.members(i)))
	}
	return s.Size
}

func (o *object) writeContent(out []byte, i int) {
	s := &o.Sections[i]
	switch old := o.Content(s); {
	case i == o.strtab:
		copy(out, o.names.new)
	case i == o.Names:
		copy(out, o.sectionNames.new)
	case i == o.symtab:
		o.writeSymbols(out, old)
	case i == o.shndx:
		o.writeNumbers(out, old)
	case s.Type == elf.SHT_GROUP:
		copy(out, old[:4])
		for n, member := range o.members(i) {
			elf64.Order.PutUint32(out[4+4*n:], o.number[member])
		}
	default:
		copy(out, old)
		if isRelocation(s) {
			for at := 12; at < len(out); at += int(s.EntSize) {
				elf64.Order.PutUint32(out[at:], o.symbol[elf64.Order.Uint32(out[at:])])
			}
		}
	}
}

// writeSymbols writes the symbols that stay, with their new names and sections.
func (o *object) writeSymbols(out, old []byte) {
	for i, n := range o.symbol {
		if n == 0 {
			continue
		}
		b := out[int(n)*elf64.SymbolSize:][:elf64.SymbolSize]
		copy(b, old[i*elf64.SymbolSize:])
		elf64.Order.PutUint32(b, o.names.at[elf64.Order.Uint32(b)])
		if section := elf64.Order.Uint16(b[6:]); section < uint16(elf.SHN_LORESERVE) {
			elf64.Order.PutUint16(b[6:], uint16(o.number[section]))
		}
	}
}

// writeNumbers writes the section numbers of the symbols that refer to this table.
func (o *object) writeNumbers(out, old []byte) {
	symbols := elf64.Symbols(o.Content(&o.Sections[o.symtab]))
	for i, n := range o.symbol {
		if n != 0 && symbols.At(i).Section == uint16(elf.SHN_XINDEX) {
			elf64.Order.PutUint32(out[4*n:], o.number[elf64.Order.Uint32(old[4*i:])])
		}
	}
}

// writeHeader writes the entry of a section in the section table.
func (o *object) writeHeader(b []byte, i int, at place) {
	s := &o.Sections[i]
	copy(b[:elf64.SectionSize], o.Data[o.Table+uint64(i)*elf64.SectionSize:])
	link, info := o.number[s.Link], s.Info
	switch {
	case i == o.symtab:
		info = uint32(o.locals)
	case s.Type == elf.SHT_GROUP:
		info = o.symbol[s.Info]
	case isRelocation(s) || s.Flags&elf.SHF_INFO_LINK != 0:
		info = o.number[s.Info]
	}
	elf64.Order.PutUint32(b, o.sectionNames.at[s.NameAt])
	elf64.Order.PutUint64(b[24:], at.off)
	elf64.Order.PutUint64(b[32:], at.size)
	elf64.Order.PutUint32(b[40:], link)
	elf64.Order.PutUint32(b[44:], info)
}
