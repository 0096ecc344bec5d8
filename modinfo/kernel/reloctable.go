package kernel

import (
	"bytes"
	"slices"
)

// riscvHandlers are the names in the loader's functions apply_r_riscv_NAME, in the
// order of the types. (arch/riscv/kernel/module.c)
var riscvHandlers = map[string]uint32{
	"32": 1, "64": 2, "branch": 16, "jal": 17, "call": 18, "call_plt": 19, "got_hi20": 20, "pcrel_hi20": 23,
	"pcrel_lo12_i": 24, "pcrel_lo12_s": 25, "hi20": 26, "lo12_i": 27, "lo12_s": 28, "add8": 33, "add16": 34, "add32": 35,
	"add64": 36, "sub8": 37, "sub16": 38, "sub32": 39, "sub64": 40, "align": 43, "rvc_branch": 44, "rvc_jump": 45, "relax": 51,
	"sub6": 52, "set6": 53, "set8": 54, "set16": 55, "set32": 56, "32_pcrel": 57, "plt32": 59, "set_uleb128": 60, "sub_uleb128": 61,
}

// riscvRefusers are functions for several types, which only refuse them.
var riscvRefusers = map[string][]uint32{
	"dynamic_linking_not_supported": {3, 4, 5, 6, 7, 8, 9, 10, 11, 58},
	"tls_not_supported":             {21, 22, 29, 30, 31, 32},
}

// handledTypes tells which types a function of the kernel handles, by its name.
func handledTypes(name []byte) []uint32 {
	name, _, _ = bytes.Cut(name, []byte(".")) // what a compiler appends, as ".isra.0"
	handler, ok := bytes.CutPrefix(name, []byte("apply_r_riscv_"))
	if !ok {
		return riscvRefusers[string(name)]
	}
	if t, ok := riscvHandlers[string(bytes.TrimSuffix(handler, []byte("_rela")))]; ok {
		return []uint32{t}
	}
	return nil
}

// handlerNames are the types that functions of the kernel handle, by their names.
type handlerNames map[uint32]bool

// isTable tells whether they are enough to be all: those that every loader has.
func (h handlerNames) isTable() bool {
	return !slices.ContainsFunc(mainlineSteps[0].types, func(t uint32) bool { return !h[t] })
}

// The riscv loader's table has a pointer to a function for each type, NULL where it
// has none, since 6.7 a second one behind each (reloc_handlers_rela, reloc_handlers).
const (
	// minSlots: every table goes to R_RISCV_RELAX at least.
	minSlots = 52
	// maxSlots is more than psABI has types, but for vendors' own from 192 on.
	maxSlots = 80
	// handlersApart is how far a function behind R_RISCV_RELAX may be from another one
	// of the table. All are of one file; compilers put aside those that are hardly called.
	handlersApart = 64 << 10
)

// noHandler are the types that no loader has a function for: they are of symbols'
// places in processes, or nothing.
var noHandler = []uint64{0, 12, 13, 14, 15, 41, 42, 46, 47, 48, 49, 50}

// A pointerTable is a place where the loader's table may be.
type pointerTable struct {
	m          *Image
	at, stride uint64
}

// slot gives the pointer for a type, 0 outside the data.
func (p pointerTable) slot(t uint64) uint64 {
	b := bytesAt(p.m.Data, p.at+t*p.stride, 8)
	if b == nil {
		return 0
	}
	return le.Uint64(b)
}

// is tells whether the table has what all of them have.
func (p pointerTable) is() bool {
	for _, t := range noHandler {
		if p.slot(t) != 0 {
			return false
		}
	}
	for t := range uint64(minSlots) {
		f := p.slot(t)
		if f == 0 && slices.Contains(mainlineSteps[0].types, uint32(t)) || f != 0 && !p.m.holds(f) || f%2 != 0 {
			return false
		}
	}
	return true
}

// types lists the slots with a pointer. Where the table ends does not show: functions
// that are far from those before are not of it.
func (p pointerTable) types() map[uint32]bool {
	types := make(map[uint32]bool)
	var functions []uint64
	for t := range uint64(maxSlots) {
		f := p.slot(t)
		near := func(g uint64) bool { return f+handlersApart >= g && f <= g+handlersApart }
		switch {
		case f == 0:
		case t < minSlots || slices.ContainsFunc(functions, near):
			types[uint32(t)] = true
			functions = append(functions, f)
		default:
			return types
		}
	}
	return types
}

// findPointerTable looks for the loader's table; nil when there is none, or more than
// one place looks like it.
func findPointerTable(m *Image) (types map[uint32]bool, at uint64) {
	found := 0
	for of64 := uint64(0); of64+8 <= uint64(len(m.Data)); of64 += 8 {
		if !m.holds(le.Uint64(m.Data[of64:])) {
			continue
		}
		for _, stride := range []uint64{8, 16} {
			if p := (pointerTable{m, of64 - 2*stride, stride}); of64 >= 2*stride && p.is() {
				types, at = p.types(), p.at
				found++
			}
		}
	}
	if found != 1 {
		return nil, 0
	}
	return types, at
}
