package depmod

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kstage/kstage/modinfo"
)

// A need is a module that another one needs, and the first symbol it needs
// from there.
type need struct {
	module *Module
	symbol string
}

// resolve finds out what each module needs.
func (t *Tree) resolve(o Options) error {
	t.symbols = t.symbolTable(o)
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
	if m.remembered != nil && o.numbered() {
		for i := range m.asks.imports.len() {
			head := m.asks.imports.at(i)
			if from := t.symbols.numbered(head >> importName); from.module != nil && head&importBind != uint32(modinfo.ExtNamed) {
				m.needs(from.module, undotted(t.symbols.name(head>>importName)))
			}
		}
		return
	}
	for _, imp := range m.Info.Imports {
		if imp.Bind == modinfo.ExtNamed {
			continue // kmod does not read the extended table
		}
		name := dropPrefix(undotted(imp.Name), o.Prefix)
		from := t.symbols.owner(name)
		if o.Kernel != nil && o.Check && imp.Bind != modinfo.Weak {
			t.check(m, imp, from, o.Kernel.Versions)
		}
		if from.module != nil {
			m.needs(from.module, name)
		}
	}
}

func (m *Module) needs(other *Module, symbol string) {
	if !slices.ContainsFunc(m.direct, func(n need) bool { return n.module == other }) {
		m.direct = append(m.direct, need{other, symbol})
	}
}

// check reports a symbol that nobody has, or has in another version.
func (t *Tree) check(m *Module, imp modinfo.Import, from owner, versions bool) {
	switch {
	case !from.known:
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
