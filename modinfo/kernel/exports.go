package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
)

// A symbolForm is the form of an entry in the kernel's table of the symbols that
// modules may use (struct kernel_symbol in include/linux/export.h): the addresses of
// a symbol, its name and its namespace, or how far each is from its own field
// (HAVE_ARCH_PREL32_RELOCATIONS). Namespaces came with 5.4.
type symbolForm struct {
	field  uint64 // bytes: 8 addresses, 4 distances
	fields uint64
	name   string
}

var symbolForms = []symbolForm{{8, 3, "addresses"}, {8, 2, "addresses"}, {4, 3, "distances"}, {4, 2, "distances"}}

const (
	// minSymbols: a shorter table is none. The smallest kernels with modules have
	// more than a thousand.
	minSymbols = 256
	// maxSymbolName is the most bytes of a symbol's name (KSYM_NAME_LEN).
	maxSymbolName = 512
	// maxTableGap is what may be between tables, for their alignment.
	maxTableGap = 64
	// maxTables is how many bytes all of these tables may take.
	maxTables = 64 << 20
	// maxStrays is how many entries before the table may look as if they were of it.
	maxStrays = 4
	// gplOnly is the flag of symbols for GPL compatible modules (KSYM_FLAG_GPL_ONLY).
	gplOnly = 1
)

// A symbolTable is a kernel's table of the symbols that modules may use. Parallel
// ones and the names are behind it (RO_DATA in include/asm-generic/vmlinux.lds.h):
//
//	symbols | GPL only ones | their checksums, 4 bytes each | names and namespaces
//	symbols | checksums | flags, 1 byte each | names and namespaces       (seen in 7.2)
//
// There are checksums with MODVERSIONS. Both lists of symbols are sorted by name,
// which is how the second is told from the first.
type symbolTable struct {
	data    []byte
	base    uint64 // of addresses
	form    symbolForm
	at      uint64
	n       uint64
	gpl     uint64 // the first GPL only one by its number; 0 when there is one list
	strings uint64 // where the first name or namespace is
	left    int    // bytes that may still be looked at
}

// findExports finds the symbols that modules may use, and tells how. They are nil
// when there is no such table.
func findExports(m *Image) (symbols map[string]Export, how string) {
	for _, form := range formsOf(m) {
		t := symbolTable{data: m.Data, base: m.Base, form: form, left: 2 * len(m.Data)}
		if t.find() {
			return t.read(), fmt.Sprintf("table of %d symbols by %s at byte %d of it", t.n, form.name, t.at)
		}
	}
	return nil, ""
}

// formsOf are the forms that a table in an image may have, the likely ones first.
func formsOf(m *Image) []symbolForm {
	addresses, distances := symbolForms[:2], symbolForms[2:]
	switch {
	case m.Base == 0:
		return distances
	case m.Machine == elf.EM_RISCV:
		return symbolForms
	}
	return slices.Concat(distances, addresses)
}

// find looks for the longest table with the right things behind it.
func (t *symbolTable) find() bool {
	size := t.form.field * t.form.fields
	var best symbolTable
	for at := uint64(0); at+minSymbols*size <= uint64(len(t.data)); at += t.form.field {
		if !t.mayBeEntry(at) {
			continue
		}
		for stray := range uint64(maxStrays) {
			t.measure(at + stray*size)
			if t.n < minSymbols {
				break
			}
			if _, ok := t.behind(); ok && t.n > best.n {
				best = *t
				break
			}
		}
		if t.n >= minSymbols {
			at += (t.n - 1) * size
		}
	}
	if best.n == 0 {
		return false
	}
	*t = best
	return true
}

// mayBeEntry is a quick look: the names of this and the next entries are behind the
// table, and not far.
func (t *symbolTable) mayBeEntry(at uint64) bool {
	size := t.form.field * t.form.fields
	for i := range uint64(4) {
		distance := t.target(at+i*size+t.form.field) - at
		if distance < minSymbols*size || distance > maxTables {
			return false
		}
	}
	return true
}

// target gives the place that a field tells of. It may be outside of the data.
func (t *symbolTable) target(at uint64) uint64 {
	if t.form.field == 8 {
		return le.Uint64(t.data[at:]) - t.base
	}
	return at + uint64(int64(int32(le.Uint32(t.data[at:]))))
}

// measure counts the entries from a place on.
func (t *symbolTable) measure(at uint64) {
	size := t.form.field * t.form.fields
	t.at, t.n, t.gpl, t.strings = at, 0, 0, uint64(len(t.data))
	var last []byte
	for ; at+size <= uint64(len(t.data)); at += size {
		name, namespace, ok := t.entry(at)
		t.left -= int(size) + len(name) + len(namespace)
		if !ok || t.left < 0 {
			return
		}
		if bytes.Compare(last, name) >= 0 {
			if t.gpl != 0 {
				return
			}
			t.gpl = t.n
		}
		last = name
		t.n++
		t.strings = min(t.strings, t.target(at+t.form.field))
		if namespace != nil {
			t.strings = min(t.strings, t.target(at+2*t.form.field))
		}
	}
}

// entry reads one entry. The namespace is nil when there is none.
func (t *symbolTable) entry(at uint64) (name, namespace []byte, ok bool) {
	name = textAt(t.data, t.target(at+t.form.field))
	if len(name) == 0 {
		return nil, nil, false
	}
	for _, b := range name {
		if !isNameByte(b) {
			return nil, nil, false
		}
	}
	field := at + 2*t.form.field
	if t.form.fields == 2 || len(bytes.TrimLeft(t.data[field:field+t.form.field], "\x00")) == 0 {
		return name, nil, true
	}
	namespace = textAt(t.data, t.target(field))
	for _, b := range namespace {
		if b <= ' ' || b > '~' {
			return nil, nil, false
		}
	}
	return name, namespace, namespace != nil
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b == '_' || b == '.' || b == '$'
}

// textAt gives the text that ends in NUL at a place, nil when it is no symbol's.
func textAt(data []byte, at uint64) []byte {
	if at >= uint64(len(data)) {
		return nil
	}
	data = data[at:min(at+maxSymbolName+1, uint64(len(data)))]
	if n := bytes.IndexByte(data, 0); n >= 0 {
		return data[:n]
	}
	return nil
}

// parallel are the tables behind that of the symbols, 0 where there is none.
type parallel struct{ checksums, flags uint64 }

// behind tells by how far it is to the names which tables are in between.
func (t *symbolTable) behind() (parallel, bool) {
	end := t.at + t.n*t.form.field*t.form.fields
	if t.strings < end {
		return parallel{}, false
	}
	gap := t.strings - end
	for _, layout := range []struct {
		bytes uint64 // for each symbol
		p     parallel
	}{
		{0, parallel{}},
		{4, parallel{checksums: end}},
		{1, parallel{flags: end}},
		{5, parallel{checksums: end, flags: end + 4*t.n}},
	} {
		if size := layout.bytes * t.n; gap >= size && gap-size < maxTableGap {
			return layout.p, (layout.p.flags == 0) == (t.gpl != 0)
		}
	}
	return parallel{}, false
}

func (t *symbolTable) read() map[string]Export {
	p, _ := t.behind()
	symbols := make(map[string]Export, t.n)
	size := t.form.field * t.form.fields
	for i := range t.n {
		name, namespace, _ := t.entry(t.at + i*size)
		e := Export{HasGPL: true, Namespace: string(namespace), Provider: "vmlinux"}
		if p.checksums != 0 {
			e.CRC, e.HasCRC = le.Uint32(t.data[p.checksums+4*i:]), true
		}
		if p.flags != 0 {
			e.GPL = t.data[p.flags+i]&gplOnly != 0
		} else {
			e.GPL = i >= t.gpl
		}
		symbols[string(name)] = e
	}
	return symbols
}
