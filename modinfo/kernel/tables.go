package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// addTables puts in the loader's tables of an image. Where one cannot be found, the
// names of the kernel's own symbols may tell.
func (f *Facts) addTables(m *Image, file string) {
	placed := *m
	placed.Data = relocated(m)
	exports, how := findExports(&placed)
	f.setExports(exports, Origin{FromImage, file, how})
	var types map[uint32]bool
	if m.Machine == elf.EM_RISCV {
		var at uint64
		types, at = findPointerTable(&placed)
		f.setRelocations(types, Origin{FromImage, file, fmt.Sprintf("table of pointers at byte %d of it", at)})
	}
	if exports != nil && (types != nil || m.Machine != elf.EM_RISCV) {
		return
	}
	k := findKallsyms(&placed)
	if k == nil {
		return
	}
	const byNames = "names in its kallsyms"
	names := newTableNames()
	k.each(func(_ int, name []byte) { names.add(name) })
	f.setExports(names.exports, Origin{FromMap, file, byNames}) // neither checksums nor classes
	if m.Machine == elf.EM_RISCV && names.handlers.isTable() {
		f.setRelocations(names.handlers, Origin{FromImage, file, byNames})
	}
}

func (f *Facts) setExports(symbols map[string]Export, from Origin) {
	if len(symbols) > 0 && from.better(f.ExportsFrom) {
		f.Exports, f.ExportsFrom = symbols, from
	}
}

func (f *Facts) setRelocations(types map[uint32]bool, from Origin) {
	if len(types) > 0 && from.better(f.RelocationsFrom) {
		f.Relocations, f.RelocationsFrom = types, from
	}
}

// tableNames are what the names of a kernel's own symbols tell of the loader's tables.
type tableNames struct {
	exports  map[string]Export
	handlers handlerNames
}

func newTableNames() tableNames {
	return tableNames{make(map[string]Export), make(handlerNames)}
}

func (t tableNames) add(name []byte) {
	if export, ok := bytes.CutPrefix(name, []byte("__ksymtab_")); ok {
		t.exports[string(export)] = Export{Provider: "vmlinux"}
	}
	for _, n := range handledTypes(name) {
		t.handlers[n] = true
	}
}
