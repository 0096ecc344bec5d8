// Package kotest writes small kernel module files for tests.
//
// A module is described by a few lines that a person can read, or by the
// struct those lines fill, which a generator of random trees can fill as well:
//
//	elf 64 le riscv                        # class, byte order, machine
//	modinfo license=GPL
//	modinfo alias=pci:v00001AF4d*
//	export foo crc=0x12345678 gpl ns=FOO
//	need printk crc=0xdeadbeef
//
// See [Parse] for the whole form. The files are ET_REL objects of either class,
// either byte order and any machine, with the sections that kmod, the kernel's
// loader and this project read. They hold no code: a kernel would refuse them.
//
// The package also finds the lab (the folder of real modules and reference
// tools) and compresses bytes without the help of other programs.
package kotest

import (
	"debug/elf"
	"testing"
)

//go:generate go run ./cmd/mkko ../../testdata/modules ../../testdata/initrd-rv64/lib/modules/6.12.0-kstage

// Build makes the object file that text describes.
func Build(text string) ([]byte, error) {
	m, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return m.Build()
}

// Must is [Build] for tests: an error ends the test.
func Must(t testing.TB, text string) []byte {
	t.Helper()
	b, err := Build(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Module describes one object file. The zero value is a module for riscv64
// with nothing but an empty symbol table and .gnu.linkonce.this_module.
type Module struct {
	Bits      int // 32 or 64; 0 is 64
	BigEndian bool
	Machine   elf.Machine // 0 is EM_RISCV
	Flags     uint32      // e_flags, which the machine defines

	Modinfo []string // strings of .modinfo, "license=GPL"

	// Symbols in the order of the symbol table, local ones first as ELF wants
	// it. The records of __versions come in the same order.
	Symbols  []Symbol
	Labels   int  // so many local symbols ".L0 ", as relaxation leaves them
	Stripped bool // no .symtab and no .strtab

	// ExtendedVersions writes __version_ext_crcs and __version_ext_names
	// instead of __versions.
	ExtendedVersions bool

	Sections   []Section // further sections; they come before the usual ones
	Relocs     []Reloc
	ThisModule int        // size of .gnu.linkonce.this_module; 0 plausible, < 0 none
	BuildID    []byte     // .note.gnu.build-id, when not empty
	Signature  *Signature // appended to the file
}

// Kind says what a [Symbol] is to the module.
type Kind int

// The kinds.
const (
	Need    Kind = iota // undefined symbol
	Weak                // weak undefined symbol
	Export              // defined, with all that EXPORT_SYMBOL leaves behind
	Version             // no symbol, only a record in __versions
	Define              // defined, not exported
)

// Symbol is one symbol, or the version record of one.
type Symbol struct {
	Kind Kind
	Name string
	Type elf.SymType

	// CRC makes a version record for Need, Weak and Version, and a __crc_
	// symbol for Export. Nil makes none.
	CRC *uint64

	// For Export.
	GPL       bool // in __ksymtab_gpl
	Namespace string
	CRCTable  bool // __crc_ points into __kcrctab; otherwise it is absolute

	// For Define.
	Section     string // name of a section, or "*" for an absolute symbol, or Common
	Value, Size uint64
	Bind        elf.SymBind
}

// Common is the section of a common symbol.
const Common = "*common"

// Section is a section with content of its own.
type Section struct {
	Name    string
	Type    elf.SectionType // 0 is SHT_PROGBITS
	Flags   elf.SectionFlag
	Align   uint64 // 0 is 1
	EntSize uint64
	Data    []byte
	Size    uint64 // for SHT_NOBITS only

	link, info uint32
}

// Reloc is one relocation. All of one section go to .rela.SECTION, or
// .rel.SECTION when NoAddend is set.
type Reloc struct {
	Section  string
	Offset   uint64
	Type     uint32
	Symbol   string // a symbol, else a section; "" is symbol 0
	Addend   int64
	NoAddend bool
}

// Signature is the trailer of a signed module:
//
//	signer, key id, data
//	algo, hash, id type, signer length, key id length, 3 zero bytes, BE32 data length
//	"~Module signature appended~\n"
type Signature struct {
	Algo, Hash, IDType  byte // IDType 2 is PKCS#7
	Signer, KeyID, Data []byte
}
