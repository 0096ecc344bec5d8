// Package slim takes out of a kernel module what nothing reads any more: the labels
// that the assembler left for the linker, and debug sections. On riscv64, where the
// linker may relax code, labels are two thirds of a module; and where the kernel has
// KALLSYMS_ALL it keeps them all in memory.
//
// What goes
//   - local symbols without a type whose name begins with .L, if no relocation that
//     stays refers to them;
//   - the sections .debug_*, .zdebug_* and .gdb_index, .llvm_addrsig (which is for
//     linkers), their relocations and symbols;
//   - names that nothing has any more, and the signature, which covers the whole file.
//
// All else stays as it is and in the same order: what depmod and modinfo tell of the
// module, what the kernel's loader looks at, functions and objects for stack traces.
package slim

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
)

// A Report tells what has been done with a module.
type Report struct {
	Symbols  int  // that are gone
	Sections int  // that are gone
	Unsigned bool // the module had a signature, and has none any more
	// Livepatch is set for a patch of a running kernel, which is left as it is: its
	// relocations are done after loading, by name.
	Livepatch bool
}

// Changed tells whether anything has been done.
func (r Report) Changed() bool { return r.Symbols+r.Sections > 0 }

// Strip takes a module, unpacked, and gives it without what nothing reads. A module
// in which there is nothing of that kind comes back itself, with its signature; what
// comes back is never larger. The module's bytes are not changed.
//
// Modules are relocatable objects, ELF, 64 bits, little-endian. One that is not, or
// whose parts contradict each other, is an error: of such a module nothing is written.
func Strip(module []byte) ([]byte, Report, error) {
	out, report, err := strip(module)
	if err != nil {
		return nil, Report{}, fmt.Errorf("strip: %w", err)
	}
	return out, report, nil
}

func strip(module []byte) ([]byte, Report, error) {
	data, signed, err := cutSignature(module)
	if err != nil {
		return nil, Report{}, err
	}
	o, err := open(data)
	if err != nil {
		return nil, Report{}, err
	}
	if o.livepatch() {
		return module, Report{Livepatch: true}, nil
	}
	if err := o.chooseSections(); err != nil {
		return nil, Report{}, err
	}
	if err := o.chooseSymbols(); err != nil {
		return nil, Report{}, err
	}
	report := Report{Symbols: o.symbolsGone, Sections: o.sectionsGone, Unsigned: signed}
	if !report.Changed() {
		return module, Report{}, nil
	}
	out := o.write()
	if out == nil {
		return module, Report{}, nil
	}
	return out, report, nil
}

// The end of a signed module is drawn in package modinfo.
const (
	signatureMark = "~Module signature appended~\n"
	signatureInfo = 12
)

// cutSignature gives the module without its signature.
func cutSignature(module []byte) (data []byte, signed bool, err error) {
	rest, signed := bytes.CutSuffix(module, []byte(signatureMark))
	if !signed {
		return module, false, nil
	}
	if len(rest) < signatureInfo {
		return nil, false, errors.New("the file has no room for the signature that it claims")
	}
	info := rest[len(rest)-signatureInfo:]
	rest = rest[:len(rest)-signatureInfo]
	size := uint64(info[3]) + uint64(info[4]) + uint64(binary.BigEndian.Uint32(info[8:]))
	if size >= uint64(len(rest)) {
		return nil, false, fmt.Errorf("the signature claims %d bytes, there are %d", size, len(rest))
	}
	return rest[:uint64(len(rest))-size], true, nil
}

// livepatch tells whether the module patches a running kernel: the loader goes by the
// field in .modinfo (check_modinfo_livepatch), the tools by the names of the sections
// (Documentation/livepatch/module-elf-format.rst).
func (o *object) livepatch() bool {
	for i := range o.Sections {
		s := &o.Sections[i]
		if strings.HasPrefix(s.Name, ".klp.") || s.Flags&shfRelaLivepatch != 0 {
			return true
		}
	}
	info := o.Section(".modinfo")
	if info == nil {
		return false
	}
	for field := range bytes.SplitSeq(o.Content(info), []byte{0}) {
		if bytes.HasPrefix(field, []byte("livepatch=")) {
			return true
		}
	}
	return false
}

// shfRelaLivepatch is SHF_RELA_LIVEPATCH (include/uapi/linux/elf.h).
const shfRelaLivepatch elf.SectionFlag = 0x00100000

// object is a module taken apart.
type object struct {
	*elf64.File
	symtab, strtab int   // numbers of the sections
	shndx          int   // that of the section numbers of symbols; 0: there is none
	places         []int // all sections but the empty one, in the order of the file

	gone         []bool   // by section
	number       []uint32 // of a section that stays
	sectionsGone int

	symbol      []uint32 // the new number of each symbol; 0: it is gone
	locals      int      // that stay, the empty one at the beginning among them
	kept        int      // symbols that stay, likewise
	symbolsGone int

	names, sectionNames *stringTable
}
