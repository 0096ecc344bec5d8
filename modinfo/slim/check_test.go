package slim_test

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/slim"
)

// check compares a module with what Strip made of it: the new file must be well
// formed, and equal in all that was to be kept. It shares no code with Strip but the
// reading of single entries.
func check(before, after []byte, r slim.Report) error {
	if !r.Changed() {
		if !bytes.Equal(before, after) {
			return errors.New("nothing was done, and the file is another one")
		}
		return nil
	}
	if len(after) >= len(before) {
		return fmt.Errorf("%d bytes became %d", len(before), len(after))
	}
	if r.Unsigned {
		before = unsigned(before)
	}
	c := comparison{}
	var err error
	if c.old, err = look(before); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if c.new, err = look(after); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return wellFormed(c.new) }, c.header, func() error { return c.sections(r) },
		func() error { return c.symbols(r) }, c.contents, c.leftovers,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// The checker notices every change of a byte, but for the places of what takes no
// space in the file.
func TestCheck(t *testing.T) {
	for _, kind := range []string{"plain", "groups", "numbers"} {
		data := kinds(t)[kind]
		out, report, err := slim.Strip(data)
		if err != nil {
			t.Fatal(err)
		}
		m, err := look(out)
		if err != nil {
			t.Fatal(err)
		}
		free := make(map[int]bool)
		for i, s := range m.Sections {
			if s.Type == elf.SHT_NOBITS || s.Size == 0 {
				for at := range 8 {
					free[int(m.Table)+i*elf64.SectionSize+24+at] = i > 0
				}
			}
		}
		for at := range out {
			damaged := bytes.Clone(out)
			damaged[at] ^= 0x21
			if !free[at] && check(data, damaged, report) == nil {
				t.Errorf("%s: the byte at %d was changed, and the check has nothing to say", kind, at)
			}
		}
	}
}

// unsigned cuts a signature off, as the kernel does.
func unsigned(b []byte) []byte {
	const mark = "~Module signature appended~\n"
	b = b[:len(b)-len(mark)]
	info := b[len(b)-12:]
	size := int(info[8])<<24 | int(info[9])<<16 | int(info[10])<<8 | int(info[11])
	return b[:len(b)-12-size-int(info[3])-int(info[4])]
}

// A module is one of the two, with its symbol table.
type module struct {
	*elf64.File
	symtab  int
	table   elf64.Symbols
	names   []byte
	numbers []byte // of SYMTAB_SHNDX, nil without
}

func look(data []byte) (*module, error) {
	f, err := elf64.Parse(data)
	if err != nil {
		return nil, err
	}
	m := &module{File: f}
	for i := range f.Sections {
		switch s := &f.Sections[i]; s.Type {
		case elf.SHT_SYMTAB:
			m.symtab, m.table = i, elf64.Symbols(f.Content(s))
			if names := f.Linked(s.Link); names != nil {
				m.names = f.Content(names)
			}
		case elf.SHT_SYMTAB_SHNDX:
			m.numbers = f.Content(s)
		}
	}
	if m.symtab == 0 {
		return nil, errors.New("no symbol table")
	}
	return m, nil
}

// entry gives the bytes of an entry in the section table.
func (m *module) entry(i int) []byte {
	return m.Data[m.Table+uint64(i)*elf64.SectionSize:][:elf64.SectionSize]
}

// symbol is a symbol with its name, and the true number of its section.
type symbol struct {
	name        string
	info, other byte
	section     uint32
	value, size uint64
}

func (m *module) symbol(i int) symbol {
	s := m.table.At(i)
	section := uint32(s.Section)
	if s.Section == uint16(elf.SHN_XINDEX) && len(m.numbers) == 4*m.table.Len() {
		section = elf64.Order.Uint32(m.numbers[4*i:])
	}
	return symbol{elf64.String(m.names, s.Name), s.Info, s.Other, section, s.Value, s.Size}
}

func (s symbol) local() bool { return s.info>>4 == byte(elf.STB_LOCAL) }
func (s symbol) label() bool { return s.info == 0 && strings.HasPrefix(s.name, ".L") }

// wellFormed looks at the file by itself.
func wellFormed(m *module) error {
	type span struct{ from, to uint64 }
	table := span{m.Table, m.Table + uint64(len(m.Sections))*elf64.SectionSize}
	spans := []span{{0, elf64.HeaderSize}, table}
	if table.from%8 != 0 || table.to != uint64(len(m.Data)) {
		return fmt.Errorf("section table %+v in %d bytes", table, len(m.Data))
	}
	if len(bytes.Trim(m.entry(0), "\x00")) > 0 {
		return fmt.Errorf("section 0: % x", m.entry(0))
	}
	for i, s := range m.Sections {
		if align := min(max(s.Align, 1), 4096); i > 0 && s.Off%align != 0 {
			return fmt.Errorf("section %d: offset %d, alignment %d", i, s.Off, align)
		}
		if s.Off > uint64(len(m.Data)) {
			return fmt.Errorf("section %d: at %d in %d bytes", i, s.Off, len(m.Data))
		}
		if s.Link >= uint32(len(m.Sections)) {
			return fmt.Errorf("section %d: link %d", i, s.Link)
		}
		if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL || s.Size == 0 {
			continue
		}
		spans = append(spans, span{s.Off, s.Off + s.Size})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to || spans[i].to < spans[i].from || spans[i].to > uint64(len(m.Data)) {
			return fmt.Errorf("%+v and %+v overlap, or lie outside", spans[i-1], spans[i])
		}
		if gap := m.Data[spans[i-1].to:spans[i].from]; len(bytes.Trim(gap, "\x00")) > 0 {
			return fmt.Errorf("% x between sections", gap)
		}
	}
	return symbolTable(m)
}

// symbolTable looks at the symbols by themselves.
func symbolTable(m *module) error {
	if m.numbers != nil && len(m.numbers) != 4*m.table.Len() {
		return fmt.Errorf("%d bytes of section numbers for %d symbols", len(m.numbers), m.table.Len())
	}
	for _, strings := range [][]byte{m.names, m.Content(&m.Sections[m.Names])} {
		if len(strings) == 0 || strings[0] != 0 || strings[len(strings)-1] != 0 {
			return errors.New("a table of names does not begin and end with NUL")
		}
	}
	for i := range m.table.Len() {
		s := m.symbol(i)
		elsewhere := m.table.At(i).Section == uint16(elf.SHN_XINDEX)
		switch {
		case m.numbers != nil && !elsewhere && elf64.Order.Uint32(m.numbers[4*i:]) != 0:
			return fmt.Errorf("symbol %d has two sections", i)
		case s.local() != (i < int(m.Sections[m.symtab].Info)):
			return fmt.Errorf("symbol %d: local and others are not apart", i)
		case int(m.table.At(i).Name) >= len(m.names):
			return fmt.Errorf("symbol %d: name outside", i)
		case s.section >= uint32(len(m.Sections)) && s.section < uint32(elf.SHN_LORESERVE):
			return fmt.Errorf("symbol %d: section %d", i, s.section)
		}
	}
	return nil
}

type comparison struct {
	old, new *module
	number   map[uint32]uint32 // of sections, old to new
}

// header: all of it but what tells of the section table.
func (c *comparison) header() error {
	a, b := bytes.Clone(c.old.Data[:64]), bytes.Clone(c.new.Data[:64])
	for _, h := range [][]byte{a, b} {
		clear(h[40:48])
		clear(h[60:64])
	}
	if !bytes.Equal(a, b) {
		return errors.New("the ELF header differs")
	}
	if c.old.Sections[c.old.Names].Name != c.new.Sections[c.new.Names].Name {
		return errors.New("another section has the names")
	}
	return nil
}

// mayGo tells whether a section is among those that nothing reads.
func (c *comparison) mayGo(s *elf64.Section) bool {
	switch s.Type {
	case elf.SHT_REL, elf.SHT_RELA:
		return c.mayGo(&c.old.Sections[s.Info])
	case elf.SHT_GROUP:
		b := c.old.Content(s)
		for at := 4; at < len(b); at += 4 {
			if !c.mayGo(&c.old.Sections[elf64.Order.Uint32(b[at:])]) {
				return false
			}
		}
		return true
	case 0x6fff4c03: // SHT_LLVM_ADDRSIG
		return true
	}
	debug := strings.HasPrefix(s.Name, ".debug_") || strings.HasPrefix(s.Name, ".zdebug_") || s.Name == ".gdb_index"
	return debug && s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_ALLOC == 0
}

// sections: those that stay come in the same order, with the same facts.
func (c *comparison) sections(r slim.Report) error {
	c.number = map[uint32]uint32{0: 0}
	next := 1
	for i := 1; i < len(c.old.Sections); i++ {
		s := &c.old.Sections[i]
		if c.mayGo(s) && i != c.old.Names {
			continue
		}
		if next >= len(c.new.Sections) {
			return fmt.Errorf("section %s is gone", s.Name)
		}
		c.number[uint32(i)] = uint32(next)
		n := c.new.Sections[next]
		a, b := c.old.entry(i), c.new.entry(next) // from type to address, alignment and size of an entry
		if n.Name != s.Name || !bytes.Equal(a[4:24], b[4:24]) || !bytes.Equal(a[48:], b[48:]) {
			return fmt.Errorf("section %+v became %+v", *s, n)
		}
		next++
	}
	if next != len(c.new.Sections) || len(c.old.Sections)-next != r.Sections {
		return fmt.Errorf("%d sections became %d, not %d; %d are said to be gone", len(c.old.Sections), len(c.new.Sections), next, r.Sections)
	}
	for i, n := range c.number {
		link, stays := c.number[c.old.Sections[i].Link]
		if !stays || c.new.Sections[n].Link != link {
			return fmt.Errorf("section %d: linked to %d, not %d", n, c.new.Sections[n].Link, link)
		}
	}
	return nil
}

// was gives an old symbol with the new number of its section; false when that is gone.
func (c *comparison) was(i int) (symbol, bool) {
	s := c.old.symbol(i)
	if s.section >= uint32(elf.SHN_LORESERVE) && c.old.table.At(i).Section != uint16(elf.SHN_XINDEX) {
		return s, true
	}
	var stays bool
	s.section, stays = c.number[s.section]
	return s, stays
}

// symbols: those that stay come in the same order; no other may go than labels and
// what lay in sections that are gone. Of equal symbols it does not matter which stays.
func (c *comparison) symbols(r slim.Report) error {
	next := 0
	for i := range c.old.table.Len() {
		s, stays := c.was(i)
		if stays && next < c.new.table.Len() && c.new.symbol(next) == s {
			next++
			continue
		}
		if !s.local() || stays && !s.label() {
			return fmt.Errorf("symbol %d, %+v, is gone", i, s)
		}
	}
	if gone := c.old.table.Len() - next; next != c.new.table.Len() || gone != r.Symbols {
		return fmt.Errorf("symbol %d is none of the old ones; %d are gone, said to be %d", next, gone, r.Symbols)
	}
	return nil
}

// contents: what the sections hold.
func (c *comparison) contents() error {
	for i, n := range c.number {
		s, t := &c.old.Sections[i], &c.new.Sections[n]
		a, b := c.old.Content(s), c.new.Content(t)
		var err error
		switch {
		case s.Type == elf.SHT_SYMTAB:
			continue
		case s.Type == elf.SHT_SYMTAB_SHNDX, int(n) == c.new.Names, n == c.new.Sections[c.new.symtab].Link:
			if err := sameInfo(s.Info, t.Info); err != nil {
				return err
			}
			continue
		case s.Type == elf.SHT_RELA, s.Type == elf.SHT_REL:
			err = cmp.Or(sameInfo(c.number[s.Info], t.Info), c.relocations(a, b, int(s.EntSize)))
		case s.Type == elf.SHT_GROUP:
			err = c.group(s, t, a, b)
		case s.Flags&elf.SHF_INFO_LINK != 0:
			err = sameInfo(c.number[s.Info], t.Info)
		default:
			err = sameInfo(s.Info, t.Info)
		}
		if err == nil && s.Type != elf.SHT_RELA && s.Type != elf.SHT_REL && s.Type != elf.SHT_GROUP && (s.Size != t.Size || !bytes.Equal(a, b)) {
			err = errors.New("its content differs")
		}
		if err != nil {
			return fmt.Errorf("section %d, %s: %w", n, t.Name, err)
		}
	}
	return nil
}

func sameInfo(want, got uint32) error {
	if want != got {
		return fmt.Errorf("info %d, not %d", got, want)
	}
	return nil
}

func (c *comparison) relocations(a, b []byte, size int) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d bytes became %d", len(a), len(b))
	}
	for at := 0; at < len(a); at += size {
		x, y := a[at:at+size], b[at:at+size]
		if !bytes.Equal(x[:12], y[:12]) || !bytes.Equal(x[16:], y[16:]) {
			return fmt.Errorf("the relocation at %d differs", at)
		}
		if err := c.sameSymbol(elf64.Order.Uint32(x[12:]), elf64.Order.Uint32(y[12:])); err != nil {
			return fmt.Errorf("the relocation at %d: %w", at, err)
		}
	}
	return nil
}

func (c *comparison) sameSymbol(old, new uint32) error {
	if int(new) >= c.new.table.Len() || (old == 0) != (new == 0) {
		return fmt.Errorf("symbol %d became %d", old, new)
	}
	if want, stays := c.was(int(old)); !stays || c.new.symbol(int(new)) != want {
		return fmt.Errorf("symbol %+v became %+v", want, c.new.symbol(int(new)))
	}
	return nil
}

func (c *comparison) group(s, t *elf64.Section, a, b []byte) error {
	want := bytes.Clone(a[:4])
	for at := 4; at < len(a); at += 4 {
		if n, stays := c.number[elf64.Order.Uint32(a[at:])]; stays {
			want = elf64.Order.AppendUint32(want, n)
		}
	}
	if !bytes.Equal(want, b) {
		return fmt.Errorf("members % x, not % x", b, want)
	}
	return c.sameSymbol(s.Info, t.Info)
}

// leftovers: no label and no name is there without need.
func (c *comparison) leftovers() error {
	used := make([]bool, c.new.table.Len())
	for i := range c.new.Sections {
		s := &c.new.Sections[i]
		b := c.new.Content(s)
		switch s.Type {
		case elf.SHT_RELA, elf.SHT_REL:
			for at := 0; at < len(b); at += int(s.EntSize) {
				used[elf64.Order.Uint32(b[at+12:])] = true
			}
		case elf.SHT_GROUP:
			used[s.Info] = true
		}
	}
	length := 1
	for i, used := range used {
		if s := c.new.symbol(i); !used && s.label() {
			return fmt.Errorf("symbol %d, %+v, is still there", i, s)
		}
		length += len(c.new.symbol(i).name) + 1
	}
	if len(c.new.names) > length && c.new.Names != int(c.new.Sections[c.new.symtab].Link) {
		return fmt.Errorf("%d bytes of names, of which at most %d are in use", len(c.new.names), length)
	}
	return nil
}
