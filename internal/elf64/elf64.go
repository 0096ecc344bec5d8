// Package elf64 reads 64-bit little-endian relocatable objects that are in memory,
// as kernel modules are: sections, symbols and relocations, in place and without
// copies. Every access is checked against the bytes that are there.
//
//	header      0 magic, 4 class, 5 byte order, 16 type, 18 machine, 40 section table,
//	            48 flags, 58 size of a table entry, 60 entries, 62 entry of the names
//	section     0 name, 4 type, 8 flags, 16 address, 24 offset, 32 size, 40 link,
//	            44 info, 48 alignment, 56 size of an entry; 64 bytes in all
//	symbol      0 name, 4 info, 5 other, 6 section, 8 value, 16 size; 24 bytes
//	relocation  0 offset, 8 type (4 bytes), 12 symbol (4 bytes), 16 addend; 24 bytes
//
// (System V ABI, chapter 4.)
package elf64

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// Sizes of what an object is made of, in bytes.
const (
	HeaderSize  = 64
	SectionSize = 64
	SymbolSize  = 24
	RelaSize    = 24
)

// Order is the byte order of these objects.
var Order = binary.LittleEndian

// A File is an object. Its sections need not lie inside of it: see Content.
type File struct {
	Data     []byte // the whole file
	Type     elf.Type
	Machine  elf.Machine
	Flags    uint32
	Sections []Section // with the empty one at the beginning
	Table    uint64    // offset of the section table
	Names    int       // number of the section with the sections' names
}

// A Section is an entry of the section table.
type Section struct {
	Name       string
	NameAt     uint32 // offset in the section of names
	Type       elf.SectionType
	Flags      elf.SectionFlag
	Addr       uint64
	Off, Size  uint64
	Link, Info uint32
	Align      uint64
	EntSize    uint64
}

// Parse reads the header and the section table. Names that lie outside their
// section are empty.
func Parse(data []byte) (*File, error) {
	if len(data) < HeaderSize || string(data[:4]) != elf.ELFMAG {
		return nil, fmt.Errorf("not an ELF file")
	}
	if elf.Class(data[4]) != elf.ELFCLASS64 || elf.Data(data[5]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("not a 64-bit little-endian ELF file")
	}
	f := &File{Data: data, Type: elf.Type(Order.Uint16(data[16:])), Machine: elf.Machine(Order.Uint16(data[18:])), Flags: Order.Uint32(data[48:])}
	size, count, names := Order.Uint16(data[58:]), int(Order.Uint16(data[60:])), int(Order.Uint16(data[62:]))
	if size != SectionSize {
		return nil, fmt.Errorf("section headers of %d bytes, not %d", size, SectionSize)
	}
	off := Order.Uint64(data[40:])
	table := f.At(off, uint64(count)*SectionSize)
	if table == nil {
		return nil, fmt.Errorf("the section table at %d ends outside the file", off)
	}
	f.Table, f.Names = off, names
	f.Sections = make([]Section, count)
	for i := range f.Sections {
		f.Sections[i] = parseSection(table[i*SectionSize:])
	}
	if names >= count {
		return nil, fmt.Errorf("there is no section %d for the names", names)
	}
	strings := f.Content(&f.Sections[names])
	for i := range f.Sections {
		f.Sections[i].Name = String(strings, f.Sections[i].NameAt)
	}
	return f, nil
}

func parseSection(b []byte) Section {
	return Section{
		NameAt: Order.Uint32(b), Type: elf.SectionType(Order.Uint32(b[4:])), Flags: elf.SectionFlag(Order.Uint64(b[8:])), Addr: Order.Uint64(b[16:]),
		Off: Order.Uint64(b[24:]), Size: Order.Uint64(b[32:]), Link: Order.Uint32(b[40:]), Info: Order.Uint32(b[44:]),
		Align: Order.Uint64(b[48:]), EntSize: Order.Uint64(b[56:]),
	}
}

// At gives n bytes at off, nil when they are not all there.
func (f *File) At(off, n uint64) []byte {
	if off > uint64(len(f.Data)) || n > uint64(len(f.Data))-off {
		return nil
	}
	return f.Data[off : off+n : off+n]
}

// Content gives the bytes of a section: nil of one that has none in the file, and
// of one that lies outside.
func (f *File) Content(s *Section) []byte {
	if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
		return nil
	}
	return f.At(s.Off, s.Size)
}

// Section finds the first section of a name; nil when there is none.
func (f *File) Section(name string) *Section {
	for i := range f.Sections {
		if f.Sections[i].Name == name && i > 0 {
			return &f.Sections[i]
		}
	}
	return nil
}

// Symtab finds the symbol table; nil when there is none.
func (f *File) Symtab() *Section {
	for i := range f.Sections {
		if f.Sections[i].Type == elf.SHT_SYMTAB {
			return &f.Sections[i]
		}
	}
	return nil
}

// Linked gives the section that another one's Link or Info names; nil when there is none.
func (f *File) Linked(i uint32) *Section {
	if i == 0 || uint64(i) >= uint64(len(f.Sections)) {
		return nil
	}
	return &f.Sections[i]
}

// Symbols is the content of a symbol table.
type Symbols []byte

// A Symbol is an entry of a symbol table.
type Symbol struct {
	Name        uint32 // offset in the string table
	Info, Other byte
	Section     uint16
	Value, Size uint64
}

// Len is the number of symbols, counting the empty one at the beginning.
func (s Symbols) Len() int { return len(s) / SymbolSize }

// At gives symbol i, which must be below Len.
func (s Symbols) At(i int) Symbol {
	b := s[i*SymbolSize:][:SymbolSize]
	return Symbol{Order.Uint32(b), b[4], b[5], Order.Uint16(b[6:]), Order.Uint64(b[8:]), Order.Uint64(b[16:])}
}

// Bind tells whether the symbol is local, global or weak.
func (s Symbol) Bind() elf.SymBind { return elf.SymBind(s.Info >> 4) }

// Type tells what the symbol stands for.
func (s Symbol) Type() elf.SymType { return elf.SymType(s.Info & 0xf) }

// Relas is the content of a section of relocations with addends.
type Relas []byte

// A Rela is a relocation.
type Rela struct {
	Off    uint64 // in the section that is relocated
	Type   uint32
	Symbol uint32 // its number in the symbol table
	Addend int64
}

// Len is the number of relocations.
func (r Relas) Len() int { return len(r) / RelaSize }

// At gives relocation i, which must be below Len.
func (r Relas) At(i int) Rela {
	b := r[i*RelaSize:][:RelaSize]
	return Rela{Order.Uint64(b), Order.Uint32(b[8:]), Order.Uint32(b[12:]), int64(Order.Uint64(b[16:]))}
}

// Type gives the type of relocation i, which must be below Len.
func (r Relas) Type(i int) uint32 { return Order.Uint32(r[i*RelaSize+8:]) }

// String gives the NUL-terminated string at an offset of a string table; empty when
// the offset lies outside.
func String(table []byte, off uint32) string {
	if uint64(off) >= uint64(len(table)) {
		return ""
	}
	b := table[off:]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
