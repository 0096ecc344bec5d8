package slim

import (
	"debug/elf"
	"errors"
	"fmt"

	"github.com/kstage/kstage/internal/elf64"
)

// chooseSymbols finds out which symbols go, numbers the others, and gathers the names
// that are still needed.
func (o *object) chooseSymbols() error {
	table := &o.Sections[o.symtab]
	symbols := elf64.Symbols(o.Content(table))
	if err := o.openNames(); err != nil {
		return err
	}
	if symbols.Len() == 0 || symbols.At(0) != (elf64.Symbol{}) {
		return fmt.Errorf("%s: it does not begin with an empty symbol", o.called(o.symtab))
	}
	if table.Info == 0 || int64(table.Info) > int64(symbols.Len()) {
		return fmt.Errorf("%s: %d symbols, of which %d are said to be local", o.called(o.symtab), symbols.Len(), table.Info)
	}
	if o.shndx != 0 && o.Sections[o.shndx].Size != uint64(symbols.Len())*4 {
		return fmt.Errorf("%s: %d bytes for %d symbols", o.called(o.shndx), o.Sections[o.shndx].Size, symbols.Len())
	}
	needed, err := o.neededSymbols(symbols.Len())
	if err != nil {
		return err
	}
	o.symbol = make([]uint32, symbols.Len())
	o.kept, o.locals = 1, 1
	for i := 1; i < symbols.Len(); i++ {
		stays, err := o.stays(symbols, i, needed[i])
		if err != nil {
			return fmt.Errorf("%s: symbol %d: %w", o.called(o.symtab), i, err)
		}
		if !stays {
			continue
		}
		o.symbol[i] = uint32(o.kept)
		o.kept++
		if i < int(table.Info) {
			o.locals++
		}
	}
	o.symbolsGone = symbols.Len() - o.kept
	return nil
}

// stays decides on a symbol, and notes its name if it stays.
func (o *object) stays(symbols elf64.Symbols, i int, needed bool) (bool, error) {
	info, at := symbols[i*elf64.SymbolSize+4], elf64.Order.Uint32(symbols[i*elf64.SymbolSize:])
	local := elf.SymBind(info>>4) == elf.STB_LOCAL
	if local != (i < int(o.Sections[o.symtab].Info)) {
		return false, fmt.Errorf("local and other symbols are not apart at %d", o.Sections[o.symtab].Info)
	}
	section, err := o.sectionOf(symbols, i)
	if err != nil {
		return false, err
	}
	if o.gone[section] {
		if needed || !local {
			return false, fmt.Errorf("it is needed, and lies in %s", o.called(section))
		}
		return false, nil
	}
	if !needed && info == 0 && o.names.label(at) {
		return false, nil
	}
	return true, o.names.use(at)
}

// sectionOf gives the section that a symbol lies in; 0 for one that lies in none.
func (o *object) sectionOf(symbols elf64.Symbols, i int) (int, error) {
	n := uint32(elf64.Order.Uint16(symbols[i*elf64.SymbolSize+6:]))
	switch {
	case n == uint32(elf.SHN_XINDEX):
		if o.shndx == 0 {
			return 0, errors.New("its section's number is in no table")
		}
		n = elf64.Order.Uint32(o.Content(&o.Sections[o.shndx])[i*4:])
	case n >= uint32(elf.SHN_LORESERVE):
		return 0, nil
	}
	if n >= uint32(len(o.Sections)) {
		return 0, fmt.Errorf("there is no section %d", n)
	}
	return int(n), nil
}

// neededSymbols are those that a relocation or a group that stays refers to.
func (o *object) neededSymbols(count int) ([]bool, error) {
	needed := make([]bool, count)
	for i := range o.Sections {
		s := &o.Sections[i]
		if o.gone[i] {
			continue
		}
		if s.Type == elf.SHT_GROUP {
			if s.Info >= uint32(count) {
				return nil, fmt.Errorf("%s: there is no symbol %d that names it", o.called(i), s.Info)
			}
			needed[s.Info] = true
		}
		if !isRelocation(s) {
			continue
		}
		b := o.Content(s)
		for at := 0; at < len(b); at += int(s.EntSize) {
			n := elf64.Order.Uint32(b[at+12:])
			if n >= uint32(count) {
				return nil, fmt.Errorf("%s: there is no symbol %d for the relocation at %d", o.called(i), n, s.Off+uint64(at))
			}
			needed[n] = true
		}
	}
	return needed, nil
}

// openNames prepares the string tables: that of the symbols and that of the sections,
// which may be one. Of the latter the names of sections that stay are in use.
func (o *object) openNames() error {
	var err error
	if o.names, err = o.openStrings(o.strtab); err != nil {
		return err
	}
	o.sectionNames = o.names
	if o.Names != o.strtab {
		if o.sectionNames, err = o.openStrings(o.Names); err != nil {
			return err
		}
	}
	for i := range o.Sections {
		if o.gone[i] {
			continue
		}
		if err := o.sectionNames.use(o.Sections[i].NameAt); err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
	}
	return nil
}

func (o *object) openStrings(i int) (*stringTable, error) {
	s := &o.Sections[i]
	b := o.Content(s)
	if s.Type != elf.SHT_STRTAB {
		return nil, fmt.Errorf("%s: not a table of names but %v", o.called(i), s.Type)
	}
	if len(b) == 0 || b[0] != 0 || b[len(b)-1] != 0 {
		return nil, fmt.Errorf("%s: the names do not begin and end with NUL", o.called(i))
	}
	return &stringTable{old: b, at: make([]uint32, len(b))}, nil
}
