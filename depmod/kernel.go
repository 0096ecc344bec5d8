package depmod

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// KernelSymbols are the symbols that the kernel itself exports, with their
// checksums where they are known. They satisfy a module's needs without making a
// dependency.
type KernelSymbols struct {
	crcs     map[string]uint64
	Versions bool // checksums are known
	// Stub tells that a System.map has next to no symbols: Debian's holds one
	// that says where the real file is.
	Stub bool
}

// stubSymbols: a System.map with fewer lines than this is none. The smallest
// kernels have tens of thousands.
const stubSymbols = 100

func newKernelSymbols() *KernelSymbols {
	// made by the loader or the linker, in no list
	return &KernelSymbols{crcs: map[string]uint64{"__this_module": 0, "_GLOBAL_OFFSET_TABLE_": 0, "TOC.": 0}}
}

// ParseSymvers reads a Module.symvers, of which the kernel's own lines count:
//
//	0x12345678<tab>NAME<tab>vmlinux<tab>EXPORT_SYMBOL…
//
// Blanks may stand for tabs. A line of three columns does not count, as its last
// one keeps the newline for kmod.
func ParseSymvers(name string, data []byte) (*KernelSymbols, []Problem) {
	k := newKernelSymbols()
	k.Versions = true
	var problems []Problem
	number := 0
	for line := range bytes.Lines(data) {
		number++
		fields := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) < 3 || fields[2] != "vmlinux" {
			continue
		}
		crc, reason := parseCRC(fields[0])
		if reason != "" {
			problems = append(problems, Problem{Rule: RuleSymvers, Severity: Error, Path: name,
				Text: fmt.Sprintf("line %d: %q is no checksum: %s", number, fields[0], reason),
				kmod: fmt.Sprintf("%s:%d Invalid symbol version %s: %s", name, number, fields[0], reason)})
			continue
		}
		k.crcs[fields[1]] = crc
	}
	return k, problems
}

// parseCRC reads a hexadecimal number as strtoull does.
func parseCRC(s string) (crc uint64, reason string) {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	crc, err := strconv.ParseUint(digits, 16, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, "Numerical result out of range"
	case err != nil:
		return 0, "Invalid argument"
	}
	return crc, ""
}

// ParseSystemMap reads a System.map, of which the __ksymtab_ lines count:
//
//	ffffffff80e0f1c8 r __ksymtab_NAME
//
// prefix is the character that the names of some old machines begin with, 0 for
// none.
func ParseSystemMap(name string, data []byte, prefix byte) (*KernelSymbols, []Problem) {
	k := newKernelSymbols()
	var problems []Problem
	number := 0
	for line := range bytes.Lines(data) {
		number++
		parts := strings.SplitN(string(line), " ", 3)
		if len(parts) < 3 {
			problems = append(problems, Problem{Rule: RuleSystemMap, Severity: Error, Path: name,
				Text: fmt.Sprintf("line %d is not ADDRESS TYPE NAME: %q", number, line),
				kmod: fmt.Sprintf("%s:%d: invalid line: %s", name, number, line)})
			continue
		}
		symbol := strings.TrimSuffix(parts[2], "\n")
		if exported, ok := strings.CutPrefix(dropPrefix(symbol, prefix), "__ksymtab_"); ok {
			k.crcs[exported] = 0
		}
	}
	k.Stub = number < stubSymbols
	return k, problems
}

// dropPrefix takes a leading prefix character off a symbol.
func dropPrefix(symbol string, prefix byte) string {
	if prefix != 0 && symbol != "" && symbol[0] == prefix {
		return symbol[1:]
	}
	return symbol
}
