package kotest

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parse reads the text form of a module. Each line is a word and its operands;
// empty lines and everything after a '#' that starts a word are skipped.
// Numbers are decimal or 0x…; a word may be quoted as in Go.
//
//	elf 64 le riscv [flags=0x1]      class, byte order (le, be), machine as debug/elf names it, or its number; first line
//	modinfo KEY=VALUE                the rest of the line, blanks and all; or one quoted string
//	export NAME [crc=N [kcrctab]] [gpl] [ns=NAME]
//	need NAME [crc=N] [type=N]       undefined symbol
//	weak NAME [crc=N]                weak undefined symbol
//	version NAME crc=N               a record of __versions and nothing else
//	define NAME SECTION|* [value=N] [size=N] [type=N] [bind=local|global|weak]
//	label N                          N local symbols ".L0 "
//	section NAME [flags=AWX] [type=N] [align=N] [entsize=N] [size=N] [text="S"] [HEX]...
//	reloc SECTION OFFSET TYPE [SYMBOL|-] [ADDEND]      TYPE: a number or R_…
//	rel SECTION OFFSET TYPE [SYMBOL|-]                 the same without addend
//	this_module N|none               size of .gnu.linkonce.this_module
//	buildid HEX
//	signature [algo=N] [hash=N] [id=N] [signer=S] [keyid=HEX] [HEX]
//	extversions                      extended version sections instead of __versions
//	stripped                         no symbol table
//
// The flags of a section are A alone unless flags= names others (A alloc,
// W write, X execute, M merge, S strings; "flags=" none), and type= takes the
// number of an SHT_… constant.
func Parse(text string) (*Module, error) {
	m := &Module{Machine: elf.EM_RISCV}
	for n, line := range strings.Split(text, "\n") {
		if err := m.parseLine(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("module text: line %d: %w", n+1, err)
		}
	}
	return m, nil
}

func (m *Module) parseLine(line string) error {
	if rest, ok := strings.CutPrefix(line, "modinfo "); ok {
		return m.parseModinfo(strings.TrimSpace(rest))
	}
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	o := &operands{words: words[1:]}
	switch words[0] {
	case "elf":
		m.parseELF(o)
	case "export":
		m.Symbols = append(m.Symbols, Symbol{Kind: Export, Name: o.next(), CRC: o.crc(),
			CRCTable: o.flag("kcrctab"), GPL: o.flag("gpl"), Namespace: o.value("ns")})
	case "need":
		m.Symbols = append(m.Symbols, Symbol{Kind: Need, Name: o.next(), CRC: o.crc(), Type: elf.SymType(o.number("type"))})
	case "weak":
		m.Symbols = append(m.Symbols, Symbol{Kind: Weak, Name: o.next(), CRC: o.crc()})
	case "version":
		m.Symbols = append(m.Symbols, Symbol{Kind: Version, Name: o.next(), CRC: o.crc()})
	case "define":
		m.Symbols = append(m.Symbols, Symbol{Kind: Define, Name: o.next(), Section: o.next(), Bind: o.bind(),
			Value: o.number("value"), Size: o.number("size"), Type: elf.SymType(o.number("type"))})
	case "label":
		m.Labels += int(o.parse(o.next(), 31))
	case "section":
		m.Sections = append(m.Sections, o.section())
	case "reloc", "rel":
		m.Relocs = append(m.Relocs, o.reloc(m.Machine, words[0] == "rel"))
	case "this_module":
		m.ThisModule = o.thisModule()
	case "buildid":
		m.BuildID = o.bytes()
	case "signature":
		m.Signature = &Signature{Algo: byte(o.number("algo")), Hash: byte(o.number("hash")), IDType: byte(o.number("id")),
			Signer: []byte(o.value("signer")), KeyID: o.hex(o.value("keyid")), Data: o.bytes()}
	case "extversions":
		m.ExtendedVersions = true
	case "stripped":
		m.Stripped = true
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return o.end()
}

func (m *Module) parseModinfo(s string) error {
	if strings.HasPrefix(s, `"`) {
		words, err := split(s)
		if err != nil {
			return err
		}
		if len(words) != 1 {
			return fmt.Errorf("modinfo takes one quoted string, not %d", len(words))
		}
		m.Modinfo = append(m.Modinfo, words[0])
		return nil
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	m.Modinfo = append(m.Modinfo, s)
	return nil
}

func (m *Module) parseELF(o *operands) {
	m.Flags = uint32(o.number("flags"))
	switch bits := o.next(); bits {
	case "32", "64":
		m.Bits = int(o.parse(bits, 8))
	default:
		o.fail("class %q is neither 32 nor 64", bits)
	}
	switch order := o.next(); order {
	case "le", "be":
		m.BigEndian = order == "be"
	default:
		o.fail("byte order %q is neither le nor be", order)
	}
	m.Machine = o.machine(o.next())
}

// split cuts a line into words. A double quote anywhere in a word starts a Go
// string; a '#' at the start of a word ends the line.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		var word strings.Builder
		for line != "" && !strings.ContainsRune(" \t\r", rune(line[0])) {
			if line[0] != '"' {
				word.WriteByte(line[0])
				line = line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("quotes do not match in %q", line)
			}
			s, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			word.WriteString(s)
			line = line[len(quoted):]
		}
		words = append(words, word.String())
	}
}

// operands takes the words of a line one by one and keeps the first error.
type operands struct {
	words []string
	err   error
}

func (o *operands) fail(format string, a ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, a...)
	}
}

// end reports the first error, or the words that nothing has taken.
func (o *operands) end() error {
	if len(o.words) > 0 {
		o.fail("unexpected %q", o.words)
	}
	return o.err
}

// next takes the first word.
func (o *operands) next() string {
	if len(o.words) == 0 {
		o.fail("too few words")
		return ""
	}
	w := o.words[0]
	o.words = o.words[1:]
	return w
}

// flag takes the word name from wherever it stands.
func (o *operands) flag(name string) bool {
	for i, w := range o.words {
		if w == name {
			o.words = append(o.words[:i:i], o.words[i+1:]...)
			return true
		}
	}
	return false
}

// lookup takes the word key=VALUE from wherever it stands.
func (o *operands) lookup(key string) (string, bool) {
	for i, w := range o.words {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			o.words = append(o.words[:i:i], o.words[i+1:]...)
			return v, true
		}
	}
	return "", false
}

func (o *operands) value(key string) string {
	v, _ := o.lookup(key)
	return v
}

func (o *operands) number(key string) uint64 {
	if v, ok := o.lookup(key); ok {
		return o.parse(v, 64)
	}
	return 0
}

func (o *operands) parse(s string, bits int) uint64 {
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil {
		o.fail("%q is not a number of %d bits", s, bits)
	}
	return n
}

func (o *operands) crc() *uint64 {
	if v, ok := o.lookup("crc"); ok {
		return new(o.parse(v, 64))
	}
	return nil
}

func (o *operands) bind() elf.SymBind {
	switch b := o.value("bind"); b {
	case "", "global":
		return elf.STB_GLOBAL
	case "local":
		return elf.STB_LOCAL
	case "weak":
		return elf.STB_WEAK
	default:
		o.fail("binding %q is not local, global or weak", b)
		return 0
	}
}

func (o *operands) hex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		o.fail("%q is not hex", s)
	}
	return b
}

// bytes takes all words left as hex.
func (o *operands) bytes() []byte {
	b := o.hex(strings.Join(o.words, ""))
	o.words = nil
	return b
}

func (o *operands) section() Section {
	s := Section{Name: o.next(), Flags: elf.SHF_ALLOC}
	if letters, ok := o.lookup("flags"); ok {
		s.Flags = o.sectionFlags(letters)
	}
	s.Type = elf.SectionType(o.number("type"))
	s.Align = o.number("align")
	s.EntSize = o.number("entsize")
	s.Size = o.number("size")
	s.Data = append([]byte(o.value("text")), o.bytes()...)
	return s
}

func (o *operands) sectionFlags(letters string) (f elf.SectionFlag) {
	for _, c := range letters {
		switch c {
		case 'A':
			f |= elf.SHF_ALLOC
		case 'W':
			f |= elf.SHF_WRITE
		case 'X':
			f |= elf.SHF_EXECINSTR
		case 'M':
			f |= elf.SHF_MERGE
		case 'S':
			f |= elf.SHF_STRINGS
		default:
			o.fail("section flag %q is none of AWXMS", c)
		}
	}
	return f
}

func (o *operands) thisModule() int {
	if o.flag("none") {
		return -1
	}
	return int(o.parse(o.next(), 31))
}

func (o *operands) reloc(machine elf.Machine, noAddend bool) Reloc {
	r := Reloc{Section: o.next(), Offset: o.parse(o.next(), 64), Type: o.relocType(machine, o.next()), NoAddend: noAddend}
	if len(o.words) > 0 {
		if s := o.next(); s != "-" {
			r.Symbol = s
		}
	}
	if len(o.words) > 0 && !noAddend {
		n, err := strconv.ParseInt(o.next(), 0, 64)
		if err != nil {
			o.fail("the addend is not a number")
		}
		r.Addend = n
	}
	return r
}

// machine finds EM_NAME, or takes a number.
func (o *operands) machine(s string) elf.Machine {
	for m := range elf.Machine(512) {
		if m.String() == "EM_"+strings.ToUpper(s) {
			return m
		}
	}
	n, err := strconv.ParseUint(s, 0, 16)
	if err != nil || n == 0 {
		o.fail("machine %q is not known to debug/elf", s)
	}
	return elf.Machine(n)
}

// relocType finds the R_… constant of the machine, or takes a number.
func (o *operands) relocType(machine elf.Machine, s string) uint32 {
	if !strings.HasPrefix(s, "R_") {
		return uint32(o.parse(s, 32))
	}
	for n := range uint32(math.MaxUint16) {
		if relocName(machine, n) == s {
			return n
		}
	}
	o.fail("relocation type %q is not known for %v: use its number", s, machine)
	return 0
}

func relocName(machine elf.Machine, n uint32) string {
	switch machine {
	case elf.EM_RISCV:
		return elf.R_RISCV(n).String()
	case elf.EM_X86_64:
		return elf.R_X86_64(n).String()
	case elf.EM_AARCH64:
		return elf.R_AARCH64(n).String()
	case elf.EM_LOONGARCH:
		return elf.R_LARCH(n).String()
	}
	return ""
}
