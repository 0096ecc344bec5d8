package modinfo

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// A Module is what one module file says.
type Module struct {
	Compression Compression // how the file is packed
	Size        int64       // bytes of the unpacked file
	Class       elf.Class
	Data        elf.Data
	Machine     elf.Machine

	// Fields are the strings of .modinfo in stored order; nil when there is no
	// such section, empty when it holds none.
	Fields []Field
	// Exports are the symbols the module offers to others, in the order of
	// its symbol table.
	Exports []Export
	// Imports are the symbols the module needs: first the undefined ones in
	// the order of the symbol table, then those that only its version table
	// names (in practice module_layout).
	Imports []Import
	// BuildID is the content of the GNU build-id note, nil without one.
	BuildID []byte
	// Signature is what was appended when the module was signed, nil without.
	Signature *Signature
	// Sections are the parts of the object, in the order of its section table.
	Sections []Section
}

// A Section is a part of an ELF object.
type Section struct {
	Name string // at most 1024 bytes of it
	Size uint64 // in bytes, as it will be in memory; .bss takes none in the file
}

// A Field is one KEY=VALUE string of .modinfo.
type Field struct{ Key, Value string }

// An Export is a symbol that other modules may use.
type Export struct {
	Name string
	CRC  uint64 // version checksum; 0 when the kernel has none (MODVERSIONS=n)
}

// Bind tells how an [Import] is needed.
type Bind uint8

// Kinds of imports.
const (
	Strong   Bind = iota // undefined; without it the module does not load
	Weak                 // undefined, may be missing
	Listed               // only in __versions, not in the symbol table
	ExtNamed             // only in __version_ext_names, not in the symbol table
)

// String gives strong, weak, listed, ext-named.
func (b Bind) String() string {
	return [...]string{"strong", "weak", "listed", "ext-named"}[b]
}

// An Import is a symbol that the module needs from the kernel or from another
// module.
type Import struct {
	Name string
	Bind Bind
	// CRC is the version the module was built against, 0 when it names none;
	// from __versions or, where that has none, __version_ext_crcs (6.14+).
	CRC uint64
}

// Get returns the first value of a .modinfo key.
func (m *Module) Get(key string) (string, bool) {
	for v := range m.All(key) {
		return v, true
	}
	return "", false
}

// All yields every value of a .modinfo key, in stored order.
func (m *Module) All(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range m.Fields {
			if f.Key == key && !yield(f.Value) {
				return
			}
		}
	}
}

// DefaultMaxSize is the limit of [Reader] for one unpacked module: 1 GiB, a
// few times the largest driver with all its debug information.
const DefaultMaxSize = 1 << 30

// A Reader reads modules one after the other with the same decoders and
// buffers. The zero value is ready. It is not for concurrent use: take one for
// each goroutine.
type Reader struct {
	// MaxSize is the largest unpacked module in bytes; 0 means DefaultMaxSize.
	MaxSize int64
	// WithoutCRCs leaves it open whether Export.CRC is set and in what order
	// Exports come. That spares the local symbols: in riscv64 modules nine
	// tenths of what would be read, all relaxation labels.
	WithoutCRCs bool
	// WithoutSymbols leaves out Exports and Imports. What is left takes little
	// reading; of a file of several xz blocks only some are unpacked.
	WithoutSymbols bool
	// WithSignature reads Module.Signature, WithSections Module.Sections.
	WithSignature, WithSections bool

	unpacker unpacker
	room     image // its buffers are used again, as are those of the next two
	symtab   symtab
	versions []version
	names    map[string]*name // of symbols already seen
	module   int              // number of the module that is being read, from 1
}

// ReadFile reads all of the module at path. Errors name it.
func ReadFile(path string) (*Module, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := Read(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Read reads all of one module of size bytes.
func Read(r io.ReaderAt, size int64) (*Module, error) {
	reader := Reader{WithSignature: true, WithSections: true}
	return reader.Read(r, size)
}

// Read reads one module of size bytes, packed or plain. Of a plain one only the
// needed pieces are read. A non-nil error means a nil module.
func (r *Reader) Read(src io.ReaderAt, size int64) (*Module, error) {
	var head [magicLen]byte
	if n, err := src.ReadAt(head[:], 0); n < magicLen {
		if err != nil && err != io.EOF {
			return nil, err
		}
		return nil, &FormatError{Kind: ErrTooShort, Offset: -1, Text: fmt.Sprintf("it has %d bytes", n)}
	}
	limit := r.MaxSize
	if limit <= 0 {
		limit = DefaultMaxSize
	}
	if size > limit {
		return nil, tooLarge(limit)
	}
	packing := Detect(head[:])
	img, err := r.open(packing, src, size, limit)
	if err != nil {
		return nil, err
	}
	m, err := r.parse(img)
	if err != nil {
		return nil, blockError(err)
	}
	m.Compression = packing
	return m, nil
}

// open gives the unpacked bytes: of a plain file none yet, of a packed one all,
// but of xz only those blocks that will be asked for when these are few.
func (r *Reader) open(packing Compression, src io.ReaderAt, size, limit int64) (*image, error) {
	img := &r.room
	img.reset(src, uint64(size))
	if packing == XZ && (r.WithoutSymbols || r.WithoutCRCs) {
		if blocks := r.unpacker.blocks(src, size, limit); blocks != nil {
			img.reset(blocks, uint64(blocks.Size()))
			return img, nil
		}
	}
	if packing == None {
		return img, nil
	}
	plain, err := r.unpacker.unpack(packing, src, size, limit)
	if err != nil {
		return nil, err
	}
	return &image{mem: plain, size: uint64(len(plain))}, nil
}

func (r *Reader) parse(img *image) (*Module, error) {
	o, err := openObject(img)
	if err != nil {
		return nil, err
	}
	m := &Module{Size: int64(img.size), Class: elf.ELFCLASS32, Data: elf.ELFDATA2LSB, Machine: o.machine}
	if o.wide {
		m.Class = elf.ELFCLASS64
	}
	if o.order.String() == "BigEndian" {
		m.Data = elf.ELFDATA2MSB
	}
	known := o.knownSections()
	if err := o.readSmall(&known); err != nil {
		return nil, err
	}
	if known[secModinfo].exists {
		info, err := o.content(known[secModinfo])
		if err != nil {
			return nil, err
		}
		m.Fields = parseFields(info)
	}
	note, err := o.content(known[secBuildID])
	if err != nil {
		return nil, err
	}
	m.BuildID = parseBuildID(note, o.order)
	if r.WithSections {
		m.Sections = o.list()
	}
	if r.WithSignature {
		if m.Signature, err = readSignature(img); err != nil {
			return nil, err
		}
	}
	if r.WithoutSymbols {
		return m, nil
	}
	return m, r.readSymbols(m, o, &known)
}

// The sections that carry facts; the first of each name counts.
const (
	secModinfo = iota
	secKsymtabStrings
	secStrtab
	secSymtab
	secVersions
	secExtCRCs
	secExtNames
	secBuildID
	secKcrctab
	secKcrctabGPL
	secCount
)

var secNames = [secCount]string{".modinfo", "__ksymtab_strings", ".strtab", ".symtab",
	"__versions", "__version_ext_crcs", "__version_ext_names", ".note.gnu.build-id",
	"__kcrctab", "__kcrctab_gpl"}

// knownSections finds the sections by name. One that lies outside the file is
// passed over, as kmod does.
func (o *object) knownSections() (known [secCount]section) {
	for i := 1; i < o.sections(); i++ {
		s := o.section(i)
		for k, name := range secNames {
			if s.inside && string(s.name) == name && !known[k].exists {
				known[k] = s
			}
		}
	}
	return known
}

// readSmall reads the small sections ahead, which linkers put side by side.
func (o *object) readSmall(known *[secCount]section) error {
	from, to, sum := o.size, uint64(0), uint64(0)
	for _, k := range []int{secModinfo, secKsymtabStrings, secVersions, secExtCRCs, secExtNames, secBuildID} {
		if s := known[k]; s.exists {
			from, to, sum = min(from, s.off), max(to, s.off+s.size), sum+s.size
		}
	}
	if from < to && to-from > sum+ahead {
		return nil
	}
	return o.readAhead(from, to)
}

func (o *object) content(s section) ([]byte, error) {
	if !s.exists || s.size == 0 {
		return nil, nil
	}
	return o.at(s.off, s.size)
}

// parseFields splits .modinfo: strings parted by one or more NULs, a last one
// without NUL counts too. A byte that stands all alone is no string to kmod.
func parseFields(info []byte) []Field {
	if len(bytes.TrimLeft(info, "\x00")) <= 1 {
		return []Field{}
	}
	fields := make([]Field, 0, min(bytes.Count(info, []byte{0}), len(info)/2)+1)
	for s := range strings.SplitSeq(string(info), "\x00") {
		if s == "" {
			continue
		}
		key, value, _ := strings.Cut(s, "=")
		fields = append(fields, Field{key, value})
	}
	return fields
}
