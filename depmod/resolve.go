package depmod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/modinfo"
)

// owner tells who offers a symbol; the kernel's own have no module.
type owner struct {
	module *Module
	crc    uint64
}

// A need is a module that another one needs, and the first symbol it needs
// from there.
type need struct {
	module *Module
	symbol string
}

// symbolTable maps every exported symbol to its owner; of several owners the
// last in module order has it, before the kernel.
func (t *Tree) symbolTable(kernel *KernelSymbols, prefix byte) map[string]owner {
	size := 0
	if kernel != nil {
		size = len(kernel.crcs)
	}
	for _, m := range t.Modules {
		if m.Info != nil {
			size += len(m.Info.Exports)
		}
	}
	table := make(map[string]owner, size)
	if kernel != nil {
		for name, crc := range kernel.crcs {
			table[name] = owner{crc: crc}
		}
	}
	for _, m := range t.Modules {
		if m.Info == nil {
			continue
		}
		for _, e := range m.Info.Exports {
			table[dropPrefix(e.Name, prefix)] = owner{m, e.CRC}
		}
	}
	return table
}

// resolve finds out what each module needs.
func (t *Tree) resolve(o Options) error {
	t.symbols = t.symbolTable(o.Kernel, o.Prefix)
	for i, m := range t.Modules {
		m.index = i
	}
	for _, m := range t.Modules {
		t.directDeps(m, o)
		for _, d := range m.direct {
			d.module.users++
		}
	}
	if numbered := t.number(); numbered < len(t.Modules) {
		return t.findCycles()
	}
	seen := make([]int, len(t.Modules))
	for i, m := range t.Modules {
		m.Deps = closure(m, seen, i+1)
	}
	return nil
}

// directDeps lists the owners of what m imports, in order of first use, and
// checks the imports where the kernel's symbols are known.
func (t *Tree) directDeps(m *Module, o Options) {
	if m.Info == nil {
		return
	}
	for _, imp := range m.Info.Imports {
		if imp.Bind == modinfo.ExtNamed {
			continue // kmod does not read the extended table
		}
		// PowerPC names functions with a leading dot, exports lack it
		name := dropPrefix(strings.TrimPrefix(imp.Name, "."), o.Prefix)
		from, known := t.symbols[name]
		if o.Kernel != nil && o.Check && imp.Bind != modinfo.Weak {
			t.check(m, imp, from, known, o.Kernel.Versions)
		}
		if from.module != nil && !slices.ContainsFunc(m.direct, func(n need) bool { return n.module == from.module }) {
			m.direct = append(m.direct, need{from.module, name})
		}
	}
}

// check reports a symbol that nobody has, or has in another version.
func (t *Tree) check(m *Module, imp modinfo.Import, from owner, known, versions bool) {
	switch {
	case !known:
		t.Problems = append(t.Problems, Problem{Rule: RuleSymbol, Severity: Warning, Path: m.Path, symbol: imp.Name,
			Text: "needs unknown symbol " + imp.Name})
	case versions && from.crc != imp.CRC:
		t.Problems = append(t.Problems, Problem{Rule: RuleVersion, Severity: Warning, Path: m.Path, symbol: imp.Name,
			Text: fmt.Sprintf("disagrees about version of symbol %s: it wants 0x%08x, 0x%08x is there", imp.Name, imp.CRC, from.crc)})
	}
}

// number gives every module a topological number, users before the used. Of the
// modules that are free to be taken, the one that became free last is next; this
// is what makes the order of dependencies in modules.dep.
func (t *Tree) number() int {
	var free []*Module
	users := make([]int, len(t.Modules))
	for i, m := range t.Modules {
		m.rank = -1
		if users[i] = m.users; users[i] == 0 {
			free = append(free, m)
		}
	}
	next := 0
	for len(free) > 0 {
		m := free[len(free)-1]
		free = free[:len(free)-1]
		m.rank = next
		next++
		for _, d := range m.direct {
			if users[d.module.index]--; users[d.module.index] == 0 {
				free = append(free, d.module)
			}
		}
	}
	return next
}

// closure lists everything m needs by ascending number. seen marks modules with
// the caller's stamp.
func closure(m *Module, seen []int, stamp int) []*Module {
	var deps []*Module
	seen[m.index] = stamp
	for todo := slices.Clone(m.direct); len(todo) > 0; {
		d := todo[len(todo)-1].module
		todo = todo[:len(todo)-1]
		if seen[d.index] == stamp {
			continue
		}
		seen[d.index] = stamp
		deps = append(deps, d)
		todo = append(todo, d.direct...)
	}
	slices.SortFunc(deps, func(a, b *Module) int { return cmp.Compare(a.rank, b.rank) })
	return deps
}
