package kotest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// Build makes the object file:
//
//	ELF header
//	section contents, each at its alignment, in the order of the table
//	section header table
//	signature, if any
//
// The sections are: the null section, .text, Module.Sections, the build ID,
// what exports leave behind, .modinfo, the version records,
// .gnu.linkonce.this_module, relocations, .symtab, .strtab, .shstrtab.
func (m *Module) Build() ([]byte, error) {
	o := &object{m: m, order: binary.LittleEndian, bits: 64, machine: elf.EM_RISCV}
	if m.BigEndian {
		o.order = binary.BigEndian
	}
	if m.Bits != 0 {
		o.bits = m.Bits
	}
	if m.Machine != 0 {
		o.machine = m.Machine
	}
	if o.bits != 32 && o.bits != 64 {
		return nil, fmt.Errorf("module of %d bits: neither 32 nor 64", o.bits)
	}
	o.addSections()
	if err := o.addVersions(); err != nil {
		return nil, err
	}
	o.addThisModule()
	if err := o.addSymbols(); err != nil {
		return nil, err
	}
	file, err := o.file()
	if err != nil {
		return nil, err
	}
	if m.Signature != nil {
		file = m.Signature.append(file)
	}
	return file, nil
}

// byteOrder is both of encoding/binary's views of a byte order.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// object is an object file in the making.
type object struct {
	m       *Module
	order   byteOrder
	bits    int
	machine elf.Machine

	sections []Section // section 0 is left out
	symbols  symtab
	relocs   []Reloc
}

// add appends a section and returns its number.
func (o *object) add(s Section) int {
	o.sections = append(o.sections, s)
	return len(o.sections)
}

// number finds the first section of that name; 0 if there is none.
func (o *object) number(name string) int {
	for i := range o.sections {
		if o.sections[i].Name == name {
			return i + 1
		}
	}
	return 0
}

// word appends an address of the class.
func (o *object) word(b []byte, v uint64) []byte {
	if o.bits == 64 {
		return o.order.AppendUint64(b, v)
	}
	return o.order.AppendUint32(b, uint32(v))
}

func (o *object) addSections() {
	if !o.hasOwn(".text") {
		// Exported symbols lie four bytes apart.
		o.add(Section{Name: ".text", Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Align: 4, Data: make([]byte, 4*max(1, len(o.exports())))})
	}
	for _, s := range o.m.Sections {
		o.add(s)
	}
	if id := o.m.BuildID; len(id) > 0 {
		var note []byte
		for _, n := range []int{4, len(id), 3} { // name size, size, NT_GNU_BUILD_ID
			note = o.order.AppendUint32(note, uint32(n))
		}
		note = append(append(note, "GNU\x00"...), id...)
		o.add(Section{Name: ".note.gnu.build-id", Type: elf.SHT_NOTE, Flags: elf.SHF_ALLOC, Align: 4, Data: note})
	}
	o.relocs = append(o.relocs, o.m.Relocs...)
	o.addExports()
	if len(o.m.Modinfo) > 0 {
		var info []byte
		for _, s := range o.m.Modinfo {
			info = append(append(info, s...), 0)
		}
		o.add(Section{Name: ".modinfo", Flags: elf.SHF_ALLOC, Data: info})
	}
}

func (o *object) hasOwn(name string) bool {
	for _, s := range o.m.Sections {
		if s.Name == name {
			return true
		}
	}
	return false
}

// addVersions writes what modversions needs to know:
//
//	__versions, 64 bit     { crc 8 bytes, name 56 bytes, padded with NUL }...
//	__versions, 32 bit     { crc 4 bytes, name 60 bytes, padded with NUL }...
//	__version_ext_crcs     { crc 4 bytes }...
//	__version_ext_names    { name, NUL }...
func (o *object) addVersions() error {
	var records, crcs, names []byte
	for _, s := range o.m.Symbols {
		if s.CRC == nil || s.Kind == Export || s.Kind == Define {
			continue
		}
		crcs = o.order.AppendUint32(crcs, uint32(*s.CRC))
		names = append(append(names, s.Name...), 0)
		room := 64 - o.bits/8
		if len(s.Name) >= room && !o.m.ExtendedVersions {
			return fmt.Errorf("version of %s: the name needs %d bytes, a record has %d", s.Name, len(s.Name)+1, room)
		}
		records = o.word(records, *s.CRC)
		records = append(records, s.Name...)
		records = append(records, make([]byte, max(0, room-len(s.Name)))...)
	}
	switch {
	case len(crcs) == 0:
	case o.m.ExtendedVersions:
		o.add(Section{Name: "__version_ext_crcs", Flags: elf.SHF_ALLOC, Align: 4, Data: crcs})
		o.add(Section{Name: "__version_ext_names", Flags: elf.SHF_ALLOC, Data: names})
	default:
		o.add(Section{Name: "__versions", Flags: elf.SHF_ALLOC, Align: uint64(o.bits / 8), Data: records})
	}
	return nil
}

// addThisModule adds the room for struct module, which is all zeros: of what
// the build puts there only the size matters to the tools.
func (o *object) addThisModule() {
	size := o.m.ThisModule
	if size < 0 {
		return
	}
	if size == 0 {
		size = 1216 * o.bits / 64 // as in Linux 6.12 for riscv64
	}
	o.add(Section{Name: ".gnu.linkonce.this_module", Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 64, Data: make([]byte, size)})
}

// file lays the sections out and writes the file.
func (o *object) file() ([]byte, error) {
	if len(o.sections)+2 >= int(elf.SHN_LORESERVE) {
		return nil, fmt.Errorf("%d sections: more than a section number can tell", len(o.sections))
	}
	var names strtab
	shstrtab := o.add(Section{Name: ".shstrtab", Type: elf.SHT_STRTAB})
	headers := make([]elf.Section64, shstrtab+1)
	for i := range o.sections {
		headers[i+1].Name = names.add(o.sections[i].Name)
	}
	o.sections[shstrtab-1].Data = names.bytes()

	file := make([]byte, o.headerSize())
	for i, s := range o.sections {
		align := max(1, s.Align)
		file = pad(file, align)
		h := &headers[i+1]
		h.Off, h.Size, h.Addralign = uint64(len(file)), uint64(len(s.Data)), align
		h.Type, h.Flags, h.Entsize = uint32(s.Type), uint64(s.Flags), s.EntSize
		h.Link, h.Info = s.link, s.info
		switch s.Type {
		case elf.SHT_NULL:
			h.Type = uint32(elf.SHT_PROGBITS)
		case elf.SHT_NOBITS:
			h.Size = s.Size
			continue
		}
		file = append(file, s.Data...)
	}
	file = pad(file, 8)
	shoff := uint64(len(file))
	for i := range headers {
		file = o.appendSectionHeader(file, &headers[i])
	}
	copy(file, o.header(shoff, len(headers), shstrtab))
	return file, nil
}

func pad(b []byte, align uint64) []byte {
	if n := uint64(len(b)) % align; n != 0 {
		b = append(b, make([]byte, align-n)...)
	}
	return b
}

func (o *object) headerSize() int {
	if o.bits == 64 {
		return binary.Size(elf.Header64{})
	}
	return binary.Size(elf.Header32{})
}

func (o *object) header(shoff uint64, shnum, shstrndx int) []byte {
	var ident [elf.EI_NIDENT]byte
	copy(ident[:], elf.ELFMAG)
	ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	if o.m.BigEndian {
		ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(o.machine), Version: uint32(elf.EV_CURRENT),
		Shoff: shoff, Flags: o.m.Flags, Ehsize: 64, Shentsize: 64, Shnum: uint16(shnum), Shstrndx: uint16(shstrndx),
	}
	if o.bits == 64 {
		h.Ident = ident
		return o.encode(nil, &h)
	}
	ident[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	return o.encode(nil, &elf.Header32{
		Ident: ident, Type: h.Type, Machine: h.Machine, Version: h.Version,
		Shoff: uint32(shoff), Flags: h.Flags, Ehsize: 52, Shentsize: 40, Shnum: h.Shnum, Shstrndx: h.Shstrndx,
	})
}

func (o *object) appendSectionHeader(b []byte, h *elf.Section64) []byte {
	if o.bits == 64 {
		return o.encode(b, h)
	}
	return o.encode(b, &elf.Section32{
		Name: h.Name, Type: h.Type, Flags: uint32(h.Flags), Off: uint32(h.Off), Size: uint32(h.Size),
		Link: h.Link, Info: h.Info, Addralign: uint32(h.Addralign), Entsize: uint32(h.Entsize),
	})
}

// encode appends one of debug/elf's fixed-size structs, which cannot fail.
func (o *object) encode(b []byte, data any) []byte {
	b, err := binary.Append(b, o.order, data)
	if err != nil {
		panic(err)
	}
	return b
}

// strtab is a string table; equal strings share their place.
type strtab struct {
	data []byte
	at   map[string]uint32
}

func (t *strtab) add(s string) uint32 {
	if t.at == nil {
		t.at = map[string]uint32{"": 0}
		t.data = []byte{0}
	}
	off, ok := t.at[s]
	if !ok {
		off = uint32(len(t.data))
		t.at[s] = off
		t.data = append(append(t.data, s...), 0)
	}
	return off
}

func (t *strtab) bytes() []byte {
	t.add("")
	return bytes.Clone(t.data)
}

func (s *Signature) append(b []byte) []byte {
	b = append(b, s.Signer...)
	b = append(b, s.KeyID...)
	b = append(b, s.Data...)
	b = append(b, s.Algo, s.Hash, s.IDType, byte(len(s.Signer)), byte(len(s.KeyID)), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Data)))
	return append(b, "~Module signature appended~\n"...)
}
