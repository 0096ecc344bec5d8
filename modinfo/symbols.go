package modinfo

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

const crcPrefix = "__crc_"

// symtab is what one pass over the symbol table finds.
type symtab struct {
	strtab    []byte
	crcs      []symbol // named __crc_*
	undefined []symbol // no section, with a name
	badName   bool     // some symbol's name lies outside the string table
	badUndef  bool     // … and that symbol is undefined
	taken     uint64   // bytes of the names taken so far
}

type symbol struct {
	name  []byte // aliases strtab
	value uint64
	shndx uint16
	info  byte
}

// readSymbols fills in exports and imports, kmod's way:
//
// Exports are the X of all symbols __crc_X; where there is none (a kernel
// without MODVERSIONS), the strings of __ksymtab_strings.
//
// Imports are the undefined symbols, then the version records that name none
// of them.
func (r *Reader) readSymbols(m *Module, o *object, known *[secCount]section) error {
	if r.names == nil {
		r.names = make(map[string]*name)
	}
	r.module++
	tab, err := r.readSymtab(o, known)
	if err != nil {
		return err
	}
	if m.Exports, err = r.exports(o, tab, known[secKsymtabStrings]); err != nil {
		return err
	}
	if tab == nil {
		return nil // kmod takes no imports from __versions alone
	}
	if tab.badUndef {
		return malformed(known[secSymtab].off, "the name of an undefined symbol lies outside the string table")
	}
	if err := r.readVersions(o, known); err != nil {
		return err
	}
	m.Imports = r.imports(tab.undefined, r.versions)
	return nil
}

// readSymtab reads the symbol table; nil when there is none. Where checksums are
// not wanted, the local symbols are left out if that is sure to change nothing
// else.
func (r *Reader) readSymtab(o *object, known *[secCount]section) (*symtab, error) {
	sym, str := known[secSymtab], known[secStrtab]
	size := o.pick(16, 24)
	if !sym.exists || !str.exists || sym.size == 0 || str.size == 0 || sym.size%size != 0 {
		return nil, nil
	}
	locals := uint64(sym.info)
	short := r.WithoutCRCs && locals > 0 && locals <= sym.size/size
	if from := sym.off + locals*size; short && from <= str.off {
		if err := o.readAhead(from, str.off+str.size); err != nil { // the linker puts one behind the other
			return nil, err
		}
	}
	strtab, err := o.content(str)
	if err != nil {
		return nil, err
	}
	t := &r.symtab
	if short {
		t.reset(strtab)
		if err := o.scanSymbols(t, sym, locals); err != nil {
			return nil, err
		}
		if ok, err := r.tailSuffices(o, t, known); ok || err != nil {
			return t, err
		}
	}
	t.reset(strtab)
	return t, o.scanSymbols(t, sym, 0)
}

func (t *symtab) reset(strtab []byte) {
	*t = symtab{strtab: strtab, crcs: t.crcs[:0], undefined: t.undefined[:0]}
}

// tailSuffices tells whether the non-local symbols, which t holds, tell all that
// depmod wants to know. ELF puts the undefined symbols there. The __crc_ symbols
// are there too, or else local (newer kernels): then the names must be
// those of __ksymtab_strings, one for one, and __kcrctab must have a word for
// each. Whatever does not fit is left to the full scan.
func (r *Reader) tailSuffices(o *object, t *symtab, known *[secCount]section) (bool, error) {
	all := bytes.Count(t.strtab, []byte(crcPrefix))
	if t.badName || all == len(t.crcs) {
		return !t.badName, nil
	}
	if len(t.crcs) > 0 || known[secKcrctab].size+known[secKcrctabGPL].size != 4*uint64(all) {
		return false, nil
	}
	exported, err := o.content(known[secKsymtabStrings])
	if err != nil {
		return false, err
	}
	names := 0
	for text := range bytes.SplitSeq(exported, []byte{0}) {
		if len(text) == 0 {
			continue
		}
		if n := r.intern(text); n.exporter != r.module {
			n.exporter = r.module
			names++
		}
	}
	for rest := t.strtab; names == all; {
		i := bytes.Index(rest, []byte("\x00"+crcPrefix))
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		text := cString(rest, 0)
		if n := r.names[string(text[len(crcPrefix):])]; n == nil || n.exporter != r.module {
			return false, nil
		}
		t.crcs = append(t.crcs, symbol{name: text})
	}
	return len(t.crcs) == all && names == all, nil
}

// scanSymbols passes over the symbols from number first on. A riscv64 module has
// ten thousand relaxation labels for each symbol that matters, so the work for a
// label is two loads and three comparisons: a name can only begin with __crc_
// where these bytes stand in the string table.
func (o *object) scanSymbols(t *symtab, sym section, first uint64) error {
	size := o.pick(16, 24)
	first = max(first, 1) // entry 0 is reserved
	crcFirst, crcLast := crcRange(t.strtab)
	nameMax := uint32(min(uint64(len(t.strtab)), 1<<32-1))
	shndxAt := o.pick(14, 6)
	little := o.order == binary.ByteOrder(binary.LittleEndian)
	from := min(first*size, sym.size)
	return o.scan(sym.off+from, sym.size-from, size, func(b []byte) error {
		for ; uint64(len(b)) >= size; b = b[size:] {
			var name uint32
			if little {
				name = binary.LittleEndian.Uint32(b)
			} else {
				name = binary.BigEndian.Uint32(b)
			}
			undefined := b[shndxAt] == 0 && b[shndxAt+1] == 0
			if undefined || name >= nameMax || (name >= crcFirst && name <= crcLast) {
				t.add(o, b[:size], name)
				if t.taken > t.room() {
					return malformed(sym.off, "the names of the symbols overlap each other")
				}
			}
		}
		return nil
	})
}

// crcRange gives the first and the last place of __crc_ in the string table;
// first > last when there is none.
func crcRange(strtab []byte) (first, last uint32) {
	i := bytes.Index(strtab, []byte(crcPrefix))
	if i < 0 {
		return 1, 0
	}
	return uint32(i), uint32(bytes.LastIndex(strtab, []byte(crcPrefix)))
}

// room is what the names of symbols may take together. They follow each other in
// the string table, where a linker may at most let one be the end of another; a
// hostile file could have millions that all begin in one long string.
func (t *symtab) room() uint64 { return 4*uint64(len(t.strtab)) + 1<<20 }

func (t *symtab) add(o *object, b []byte, name uint32) {
	s := symbol{shndx: o.order.Uint16(b[o.pick(14, 6):]), info: b[o.pick(12, 4)], value: word(o.order, b[o.pick(4, 8):], o.wide)}
	if uint64(name) >= uint64(len(t.strtab)) {
		t.badName = true
		t.badUndef = t.badUndef || (s.shndx == 0 && !sparcRegister(o.machine, s.info))
		return
	}
	isCRC := bytes.HasPrefix(t.strtab[name:], []byte(crcPrefix))
	undefined := s.shndx == uint16(elf.SHN_UNDEF) && !sparcRegister(o.machine, s.info)
	if !isCRC && !undefined {
		return
	}
	s.name = cString(t.strtab, uint64(name))
	t.taken += uint64(len(s.name))
	if isCRC {
		t.crcs = append(t.crcs, s)
	}
	if undefined && len(s.name) > 0 {
		t.undefined = append(t.undefined, s)
	}
}

// sparcRegister tells the pseudo symbols by which SPARC objects declare global
// registers; they are undefined but need nobody.
func sparcRegister(m elf.Machine, info byte) bool {
	const sttRegister = 13
	return (m == elf.EM_SPARC || m == elf.EM_SPARCV9) && info&0xf == sttRegister
}

func (r *Reader) exports(o *object, tab *symtab, ksymtab section) ([]Export, error) {
	if tab != nil && !tab.badName && len(tab.crcs) > 0 {
		exports := make([]Export, len(tab.crcs))
		for i, s := range tab.crcs {
			crc, err := o.crc(s)
			if err != nil {
				return nil, err
			}
			exports[i] = Export{r.intern(s.name[len(crcPrefix):]).text, crc}
		}
		return exports, nil
	}
	names, err := o.content(ksymtab)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	if names[len(names)-1] != 0 {
		return nil, malformed(ksymtab.off, "__ksymtab_strings does not end in NUL")
	}
	var exports []Export
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if len(name) > 0 {
			exports = append(exports, Export{Name: r.intern(name).text})
		}
	}
	return exports, nil
}

// crc resolves a __crc_ symbol: older kernels put the checksum into the value,
// newer ones into a word of __kcrctab that the value points to.
func (o *object) crc(s symbol) (uint64, error) {
	if s.shndx == uint16(elf.SHN_ABS) || s.shndx == uint16(elf.SHN_UNDEF) {
		return s.value, nil
	}
	sec := o.section(int(s.shndx))
	if !sec.exists || !sec.inside || sec.size < 4 || s.value > sec.size-4 {
		return 1<<64 - 1, nil
	}
	b, err := o.at(sec.off+s.value, 4)
	if err != nil {
		return 0, err
	}
	return uint64(o.order.Uint32(b)), nil
}

// A version is one record of a module's version table.
type version struct {
	name *name
	crc  uint64
	ext  bool
	used bool // by an undefined symbol
}

// readVersions reads __versions, records of 64 bytes: an 8 byte checksum and 56
// bytes of name, 4 and 60 in 32-bit objects. Kernels since 6.14 may write
// __version_ext_crcs (32-bit words) and __version_ext_names (as many strings)
// beside or instead, since names of Rust symbols do not fit; these are used for
// names that the first table lacks.
func (r *Reader) readVersions(o *object, known *[secCount]section) error {
	const record = 64
	crcLen := o.pick(4, 8)
	table, err := o.content(known[secVersions])
	if err != nil {
		return err
	}
	if len(table)%record != 0 {
		table = nil
	}
	r.versions = r.versions[:0]
	for ; len(table) > 0; table = table[record:] {
		r.versions = append(r.versions, version{name: r.intern(cString(table[:record], crcLen)), crc: word(o.order, table, o.wide)})
	}
	crcs, err := o.content(known[secExtCRCs])
	if err != nil {
		return err
	}
	names, err := o.content(known[secExtNames])
	if err != nil {
		return err
	}
	for len(crcs) >= 4 && len(names) > 0 {
		text := cString(names, 0)
		r.versions = append(r.versions, version{name: r.intern(text), crc: uint64(o.order.Uint32(crcs)), ext: true})
		crcs, names = crcs[4:], names[min(len(text)+1, len(names)):]
	}
	return nil
}

// imports joins undefined symbols and version records. Of several records with
// one name the first serves the symbol; the others stay as entries of their own.
func (r *Reader) imports(undefined []symbol, versions []version) []Import {
	for i := len(versions) - 1; i >= 0; i-- {
		n := versions[i].name
		n.importer, n.version = r.module, i
	}
	imports := make([]Import, 0, len(undefined)+1)
	for _, s := range undefined {
		n := r.intern(s.name)
		imp := Import{Name: n.text}
		if elf.SymBind(s.info>>4) == elf.STB_WEAK {
			imp.Bind = Weak
		}
		if n.importer == r.module {
			v := &versions[n.version]
			imp.CRC, v.used = v.crc, true
		}
		imports = append(imports, imp)
	}
	for i, v := range versions {
		switch {
		case v.used:
		case v.ext && v.name.version != i: // the same name stands in __versions
		case v.ext:
			imports = append(imports, Import{Name: v.name.text, Bind: ExtNamed, CRC: v.crc})
		default:
			imports = append(imports, Import{Name: v.name.text, Bind: Listed, CRC: v.crc})
		}
	}
	return imports
}

// A name is that of a symbol. It is kept once for all modules that a Reader
// reads; what it means to the module with a number is remembered with it, which
// spares a table for each module.
type name struct {
	text     string
	exporter int // the last module with this name in __ksymtab_strings
	importer int // the last module with a record of that name in its version table
	version  int // the first such record
}

// intern returns the one name that has this text.
func (r *Reader) intern(text []byte) *name {
	n := r.names[string(text)]
	if n == nil {
		n = &name{text: string(text)}
		r.names[n.text] = n
	}
	return n
}

// parseBuildID finds the build id in an ELF note section:
//
//	name size, description size, type (words); name and description, each
//	padded to 4 bytes. The build id has type 3 and the name "GNU\0".
func parseBuildID(note []byte, order binary.ByteOrder) []byte {
	const gnuBuildID = 3
	for len(note) >= 12 {
		nameLen, descLen := uint64(order.Uint32(note)), uint64(order.Uint32(note[4:]))
		typ := order.Uint32(note[8:])
		note = note[12:]
		descAt := (nameLen + 3) &^ 3
		if descAt > uint64(len(note)) || descLen > uint64(len(note))-descAt {
			return nil
		}
		if typ == gnuBuildID && bytes.Equal(note[:nameLen], []byte("GNU\x00")) {
			return bytes.Clone(note[descAt : descAt+descLen])
		}
		note = note[min(descAt+(descLen+3)&^3, uint64(len(note))):]
	}
	return nil
}
