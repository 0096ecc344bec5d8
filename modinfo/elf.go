package modinfo

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// The parts of an ELF object that are used, offsets in bytes (32 / 64 bit):
//
//	header    0 magic, 4 class, 5 byte order, 16 type, 18 machine,
//	          32/40 section table offset, 36/48 flags, 46/58 size of a table
//	          entry, 48/60 entries, 50/62 entry of the section names
//	section   0 name, 4 type, 8 flags, 16/24 offset, 20/32 size,
//	          24/40 link, 28/44 info; 40 / 64 bytes in all
//	symbol    name; 64 bit: 4 info, 6 section, 8 value; 24 bytes
//	                32 bit: 4 value, 12 info, 14 section; 16 bytes
//
// kmod wants the table's entry size to be exact, the table inside the file and
// the name section to end in NUL; so do we.

// object is an ELF file with its section table read.
type object struct {
	*image
	order   binary.ByteOrder
	wide    bool // ELFCLASS64
	machine elf.Machine
	table   []byte // the section table
	names   []byte // the section names
}

// section is one entry of the section table.
type section struct {
	name           []byte
	typ            elf.SectionType
	flags          uint64
	off, size      uint64
	link, info     uint32
	addralign      uint64
	inside, exists bool // inside: its bytes lie within the file
}

const (
	// ahead is how many bytes are read at once of a file's beginning.
	ahead = 4 << 10
	// names is how many are read before the section table, where the linker puts
	// the section names: 682 bytes at most in a distribution's 3,103 modules.
	names = 1 << 10
	// far before the end is no section table.
	far = 64 << 10
)

func openObject(img *image) (*object, error) {
	if err := img.readAhead(0, ahead); err != nil {
		return nil, err
	}
	head, err := img.at(0, min(img.size, 64))
	if err != nil {
		return nil, err
	}
	if len(head) <= elf.EI_NIDENT || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return nil, &FormatError{Kind: ErrNotELF, Offset: -1, Text: "it starts with " + peek(head)}
	}
	o := &object{image: img}
	switch elf.Class(head[elf.EI_CLASS]) {
	case elf.ELFCLASS32:
	case elf.ELFCLASS64:
		o.wide = true
	default:
		return nil, malformed(elf.EI_CLASS, "unknown class %d", head[elf.EI_CLASS])
	}
	switch elf.Data(head[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		o.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		o.order = binary.BigEndian
	default:
		return nil, malformed(elf.EI_DATA, "unknown byte order %d", head[elf.EI_DATA])
	}
	if uint64(len(head)) < o.pick(52, 64) {
		return nil, malformed(0, "the header is cut off")
	}
	o.machine = elf.Machine(o.order.Uint16(head[18:]))
	return o, o.readTable(head)
}

// peek shows the first bytes of something that is no module.
func peek(b []byte) string {
	b = b[:min(len(b), 8)]
	return fmt.Sprintf("% x (%q)", b, b)
}

func (o *object) pick(narrow, wide uint64) uint64 {
	if o.wide {
		return wide
	}
	return narrow
}

func (o *object) readTable(head []byte) error {
	tableOff := word(o.order, head[o.pick(32, 40):], o.wide)
	tail := head[o.pick(46, 58):]
	entry, count, namesAt := o.order.Uint16(tail), o.order.Uint16(tail[2:]), o.order.Uint16(tail[4:])
	if uint64(entry) != o.pick(40, 64) {
		return malformed(o.pick(46, 58), "section headers of %d bytes, expected %d", entry, o.pick(40, 64))
	}
	if tableOff < o.size && o.size-tableOff <= far {
		if err := o.readAhead(tableOff-min(tableOff, names), o.size); err != nil {
			return err
		}
	}
	var err error
	if o.table, err = o.at(tableOff, uint64(entry)*uint64(count)); err != nil {
		return malformed(tableOff, "the section table ends outside the file (is it cut off?)")
	}
	if namesAt == 0 || namesAt >= count {
		return malformed(o.pick(50, 62), "no section %d for the section names", namesAt)
	}
	s := o.section(int(namesAt))
	if o.names, err = o.at(s.off, s.size); err != nil || s.size == 0 || o.names[s.size-1] != 0 {
		return malformed(s.off, "the section names do not end inside their section")
	}
	return nil
}

func (o *object) sections() int { return len(o.table) / int(o.pick(40, 64)) }

// section reads entry i of the table; i may be any number from a file.
func (o *object) section(i int) section {
	if i < 0 || i >= o.sections() {
		return section{}
	}
	size := o.pick(40, 64)
	b := o.table[uint64(i)*size:]
	w := func(narrow, wide uint64) uint64 { return word(o.order, b[o.pick(narrow, wide):], o.wide) }
	s := section{
		exists:    true,
		typ:       elf.SectionType(o.order.Uint32(b[4:])),
		flags:     w(8, 8),
		off:       w(16, 24),
		size:      w(20, 32),
		link:      o.order.Uint32(b[o.pick(24, 40):]),
		info:      o.order.Uint32(b[o.pick(28, 44):]),
		addralign: w(32, 48),
	}
	s.name = cString(o.names, uint64(o.order.Uint32(b)))
	s.inside = s.off <= o.size && s.size <= o.size-s.off
	return s
}

// maxSectionName keeps section names that overlap from growing without end.
const maxSectionName = 1024

// list gives all sections but the empty one at the beginning.
func (o *object) list() []Section {
	list := make([]Section, 0, max(o.sections(), 1)-1)
	for i := 1; i < o.sections(); i++ {
		s := o.section(i)
		list = append(list, Section{Name: string(s.name[:min(len(s.name), maxSectionName)]), Size: s.size})
	}
	return list
}

// cString returns the NUL-terminated string at off, nil when off lies outside.
func cString(b []byte, off uint64) []byte {
	if off >= uint64(len(b)) {
		return nil
	}
	b = b[off:]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}
