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
	var needs pieces[need]
	var found []need
	for _, m := range t.Modules {
		found = t.directDeps(m, found[:0], o)
		m.direct = needs.copy(found)
		for _, d := range m.direct {
			d.module.users++
		}
	}
	if numbered := t.number(); numbered < len(t.Modules) {
		return t.findCycles()
	}
	c := closer{seen: make([]int, len(t.Modules))}
	for i, m := range t.Modules {
		m.Deps = c.closure(m, i+1)
	}
	return nil
}

// directDeps appends the owners of what m imports, in order of first use, and
// checks the imports where the kernel's symbols are known.
func (t *Tree) directDeps(m *Module, to []need, o Options) []need {
	if m.Info == nil {
		return to
	}
	if m.remembered != nil && o.numbered() {
		for i := range m.asks.imports.len() {
			head := m.asks.imports.at(i)
			if from := t.symbols.numbered(head >> importName); from.module != nil && head&importBind != uint32(modinfo.ExtNamed) {
				to = appendNeed(to, need{from.module, undotted(t.symbols.name(head >> importName))})
			}
		}
		return to
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
			to = appendNeed(to, need{from.module, name})
		}
	}
	return to
}

func appendNeed(to []need, n need) []need {
	if slices.ContainsFunc(to, func(other need) bool { return other.module == n.module }) {
		return to
	}
	return append(to, n)
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

// A closer finds what modules need. What it works with is used again from one to the next.
type closer struct {
	seen  []int // marks modules with the caller's stamp
	todo  []need
	deps  []*Module
	ofAll pieces[*Module]
}

// closure lists everything m needs by ascending number.
func (c *closer) closure(m *Module, stamp int) []*Module {
	c.seen[m.index] = stamp
	c.deps, c.todo = c.deps[:0], append(c.todo[:0], m.direct...)
	for len(c.todo) > 0 {
		d := c.todo[len(c.todo)-1].module
		c.todo = c.todo[:len(c.todo)-1]
		if c.seen[d.index] == stamp {
			continue
		}
		c.seen[d.index] = stamp
		c.deps = append(c.deps, d)
		c.todo = append(c.todo, d.direct...)
	}
	slices.SortFunc(c.deps, func(a, b *Module) int { return cmp.Compare(a.rank, b.rank) })
	return c.ofAll.copy(c.deps)
}
