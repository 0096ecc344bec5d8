package kotest

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
)

// symtab collects the symbol table: local symbols, then the others.
type symtab struct {
	locals, others []symbol
}

type symbol struct {
	name        string
	value, size uint64
	bind        elf.SymBind
	typ         elf.SymType
	section     int // section number, or a reserved SHN_… one
}

func (t *symtab) add(s symbol) {
	if s.bind == elf.STB_LOCAL {
		t.locals = append(t.locals, s)
	} else {
		t.others = append(t.others, s)
	}
}

func (o *object) exports() []Symbol {
	var out []Symbol
	for _, s := range o.m.Symbols {
		if s.Kind == Export {
			out = append(out, s)
		}
	}
	return out
}

// addExports writes what EXPORT_SYMBOL leaves in an object. Each symbol X has
// its name and its namespace (often the empty string) in __ksymtab_strings, at
// the local symbols __kstrtab_X and __kstrtabns_X, and an entry in __ksymtab or
// __ksymtab_gpl, at __ksymtab_X, which relocations fill:
//
//	three addresses                 { symbol, name, namespace }    riscv and others
//	three 32-bit relative offsets   { symbol, name, namespace }    x86_64, arm64, …
//
// The entries are sorted by name, because the kernel searches them by halving.
// A CRC stands at the same index of __kcrctab or __kcrctab_gpl, where __crc_X
// points; older kernels' objects have the CRC as the value of an absolute __crc_X.
func (o *object) addExports() {
	exports := o.exports()
	if len(exports) == 0 {
		return
	}
	for _, gpl := range []bool{false, true} {
		o.addExportTable(exports, gpl)
	}
	var text []byte
	strings := len(o.sections) + 1
	for _, s := range exports {
		o.symbols.add(symbol{name: "__kstrtab_" + s.Name, value: uint64(len(text)), section: strings})
		text = append(append(text, s.Name...), 0)
		o.symbols.add(symbol{name: "__kstrtabns_" + s.Name, value: uint64(len(text)), section: strings})
		text = append(append(text, s.Namespace...), 0)
	}
	flags := elf.SHF_ALLOC | elf.SHF_MERGE | elf.SHF_STRINGS
	o.add(Section{Name: "__ksymtab_strings", Flags: flags, EntSize: 1, Data: text})
}

func (o *object) addExportTable(exports []Symbol, gpl bool) {
	entries := slices.DeleteFunc(slices.Clone(exports), func(s Symbol) bool { return s.GPL != gpl })
	if len(entries) == 0 {
		return
	}
	slices.SortStableFunc(entries, func(a, b Symbol) int { return cmp.Compare(a.Name, b.Name) })
	suffix := ""
	if gpl {
		suffix = "_gpl"
	}
	size, reloc := o.addressReloc()
	table := o.add(Section{Name: "__ksymtab" + suffix, Flags: elf.SHF_ALLOC, Align: size, Data: make([]byte, 3*size*uint64(len(entries)))})
	var crcs []byte
	for i, s := range entries {
		at := 3 * size * uint64(i)
		o.symbols.add(symbol{name: "__ksymtab_" + s.Name, value: at, section: table})
		for j, name := range []string{s.Name, "__kstrtab_" + s.Name, "__kstrtabns_" + s.Name} {
			if reloc != 0 {
				o.relocs = append(o.relocs, Reloc{Section: "__ksymtab" + suffix, Offset: at + size*uint64(j), Type: reloc, Symbol: name})
			}
		}
		var crc uint64
		if s.CRC != nil && s.CRCTable {
			crc = *s.CRC
			o.symbols.add(symbol{name: "__crc_" + s.Name, value: uint64(len(crcs)), section: table + 1})
		}
		crcs = o.order.AppendUint32(crcs, uint32(crc))
	}
	if slices.ContainsFunc(entries, func(s Symbol) bool { return s.CRC != nil && s.CRCTable }) {
		o.add(Section{Name: "__kcrctab" + suffix, Flags: elf.SHF_ALLOC, Align: 4, Data: crcs})
	}
}

// addressReloc tells the size of one of the three fields of a __ksymtab entry
// and the relocation that fills it. Machines that no test needs have none:
// their tables stay zero.
func (o *object) addressReloc() (size uint64, reloc uint32) {
	switch {
	case o.machine == elf.EM_RISCV && o.bits == 64:
		return 8, uint32(elf.R_RISCV_64)
	case o.machine == elf.EM_RISCV:
		return 4, uint32(elf.R_RISCV_32)
	case o.machine == elf.EM_X86_64:
		return 4, uint32(elf.R_X86_64_PC32)
	case o.machine == elf.EM_AARCH64:
		return 4, uint32(elf.R_AARCH64_PREL32)
	case o.machine == elf.EM_LOONGARCH:
		return 4, uint32(elf.R_LARCH_32_PCREL)
	}
	return uint64(o.bits / 8), 0
}

// addSymbols adds the relocations and the symbol table.
func (o *object) addSymbols() error {
	if o.m.Stripped {
		return nil
	}
	for range o.m.Labels {
		o.symbols.add(symbol{name: ".L0 ", section: o.number(".text")})
	}
	if n := o.number(".gnu.linkonce.this_module"); n > 0 {
		o.symbols.add(symbol{name: "__this_module", size: uint64(len(o.sections[n-1].Data)), bind: elf.STB_GLOBAL, typ: elf.STT_OBJECT, section: n})
	}
	var exported uint64
	for _, s := range o.m.Symbols {
		if err := o.addSymbol(s, 4*exported); err != nil {
			return err
		}
		if s.Kind == Export {
			exported++
		}
	}
	if err := o.addRelocs(); err != nil {
		return err
	}
	o.addSymtab()
	return nil
}

// addSymbol adds the symbols of one line; an exported one lies at offset of .text.
func (o *object) addSymbol(s Symbol, offset uint64) error {
	switch s.Kind {
	case Need:
		o.symbols.add(symbol{name: s.Name, bind: elf.STB_GLOBAL, typ: s.Type})
	case Weak:
		o.symbols.add(symbol{name: s.Name, bind: elf.STB_WEAK, typ: s.Type})
	case Export:
		o.symbols.add(symbol{name: s.Name, value: offset, size: 4, bind: elf.STB_GLOBAL, typ: elf.STT_FUNC, section: o.number(".text")})
		if s.CRC != nil && !s.CRCTable {
			o.symbols.add(symbol{name: "__crc_" + s.Name, value: *s.CRC, bind: elf.STB_GLOBAL, section: int(elf.SHN_ABS)})
		}
	case Define:
		section := int(elf.SHN_ABS)
		switch s.Section {
		case "*":
		case Common:
			section = int(elf.SHN_COMMON)
		default:
			if section = o.number(s.Section); section == 0 {
				return fmt.Errorf("symbol %s: no section %s", s.Name, s.Section)
			}
		}
		o.symbols.add(symbol{name: s.Name, value: s.Value, size: s.Size, bind: s.Bind, typ: s.Type, section: section})
	}
	return nil
}

// addRelocs makes one relocation section for each target, in the order of
// their first relocation:
//
//	64 bit  { offset 8 bytes, symbol<<32 | type 8 bytes, addend 8 bytes }
//	32 bit  { offset 4 bytes, symbol<<8  | type 4 bytes, addend 4 bytes }
func (o *object) addRelocs() error {
	o.addSectionSymbols()
	index := o.symbols.index()
	symtab := len(o.sections) + o.relocSections() + 1
	for _, r := range o.relocs {
		symbol, known := index[r.Symbol]
		if !known {
			return fmt.Errorf("relocation of %s+0x%x: no symbol %s", r.Section, r.Offset, r.Symbol)
		}
		target := o.number(r.Section)
		if target == 0 {
			return fmt.Errorf("relocation of %s+0x%x: no such section", r.Section, r.Offset)
		}
		s := Section{Name: ".rela" + r.Section, Type: elf.SHT_RELA, Flags: elf.SHF_INFO_LINK, Align: 8,
			EntSize: uint64(3 * o.bits / 8), link: uint32(symtab), info: uint32(target)}
		if r.NoAddend {
			s.Name, s.Type, s.EntSize = ".rel"+r.Section, elf.SHT_REL, uint64(2*o.bits/8)
		}
		n := o.number(s.Name)
		if n == 0 {
			n = o.add(s)
		}
		d := &o.sections[n-1].Data
		*d = o.word(*d, r.Offset)
		if o.bits == 64 {
			*d = o.word(*d, uint64(symbol)<<32|uint64(r.Type))
		} else {
			*d = o.word(*d, uint64(symbol)<<8|uint64(r.Type&0xff))
		}
		if !r.NoAddend {
			*d = o.word(*d, uint64(r.Addend))
		}
	}
	return nil
}

// relocSections counts the sections that addRelocs makes.
func (o *object) relocSections() int {
	type target struct {
		section  string
		noAddend bool
	}
	seen := map[target]bool{}
	for _, r := range o.relocs {
		seen[target{r.Section, r.NoAddend}] = true
	}
	return len(seen)
}

// addSectionSymbols gives a symbol to each section that a relocation refers to.
func (o *object) addSectionSymbols() {
	index := o.symbols.index()
	for _, r := range o.relocs {
		n := o.number(r.Symbol)
		if _, known := index[r.Symbol]; known || n == 0 {
			continue
		}
		index[r.Symbol] = 0
		o.symbols.add(symbol{name: r.Symbol, bind: elf.STB_LOCAL, typ: elf.STT_SECTION, section: n})
	}
}

// index maps names to symbol numbers; the first of a name counts.
func (t *symtab) index() map[string]int {
	m := map[string]int{"": 0}
	for i, s := range slices.Concat(t.locals, t.others) {
		if _, known := m[s.name]; !known {
			m[s.name] = i + 1
		}
	}
	return m
}

func (o *object) addSymtab() {
	var names strtab
	align := uint64(o.bits / 8)
	symtab := Section{Name: ".symtab", Type: elf.SHT_SYMTAB, Align: align, EntSize: 24,
		link: uint32(len(o.sections) + 2), info: uint32(len(o.symbols.locals) + 1)}
	if o.bits == 32 {
		symtab.EntSize = 16
	}
	symtab.Data = make([]byte, symtab.EntSize) // symbol 0
	for _, s := range slices.Concat(o.symbols.locals, o.symbols.others) {
		name := names.add(s.name)
		if s.typ == elf.STT_SECTION {
			name = 0
		}
		e := elf.Sym64{Name: name, Info: elf.ST_INFO(s.bind, s.typ), Shndx: uint16(s.section), Value: s.value, Size: s.size}
		if o.bits == 64 {
			symtab.Data = o.encode(symtab.Data, &e)
		} else {
			symtab.Data = o.encode(symtab.Data, &elf.Sym32{Name: name, Info: e.Info, Shndx: e.Shndx, Value: uint32(s.value), Size: uint32(s.size)})
		}
	}
	o.add(symtab)
	o.add(Section{Name: ".strtab", Type: elf.SHT_STRTAB, Data: names.bytes()})
}
