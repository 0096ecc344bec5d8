package depmod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// owner tells who offers a symbol.
type owner struct {
	module *Module
	crc    uint64
}

// symbols maps every exported symbol to its owner; of several owners the last
// in module order has it.
func (t *Tree) symbols() map[string]owner {
	table := make(map[string]owner)
	for _, m := range t.Modules {
		if m.Info == nil {
			continue
		}
		for _, e := range m.Info.Exports {
			table[e.Name] = owner{m, e.CRC}
		}
	}
	return table
}

// resolve finds out what each module needs.
func (t *Tree) resolve() error {
	table := t.symbols()
	for i, m := range t.Modules {
		m.index = i
	}
	for _, m := range t.Modules {
		m.direct = directDeps(m, table)
		for _, d := range m.direct {
			d.users++
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

// directDeps lists the owners of what m imports, in order of first use.
func directDeps(m *Module, table map[string]owner) []*Module {
	if m.Info == nil {
		return nil
	}
	var deps []*Module
	for _, imp := range m.Info.Imports {
		// PowerPC names functions with a leading dot, exports lack it
		o, ok := table[strings.TrimPrefix(imp.Name, ".")]
		if ok && !slices.Contains(deps, o.module) {
			deps = append(deps, o.module)
		}
	}
	return deps
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
			if users[d.index]--; users[d.index] == 0 {
				free = append(free, d)
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
		d := todo[len(todo)-1]
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

// A CycleError tells that modules need each other in a circle, so that none of
// them can be loaded first.
type CycleError struct {
	Cycles [][]string // names along each circle, the first one again at the end
	Count  int        // modules in them
}

func (e *CycleError) Error() string {
	var b strings.Builder
	for _, c := range e.Cycles {
		fmt.Fprintf(&b, "modules need each other in a circle: %s\n", strings.Join(c, " -> "))
	}
	fmt.Fprintf(&b, "%d modules are in such circles", e.Count)
	return b.String()
}

// findCycles walks from each module that got no number, depth first, until the
// walk comes back to where it began. Each module is walked through once, which
// bounds the work (kmod's own walk does not end when a root leads into a circle
// that it is no part of).
func (t *Tree) findCycles() error {
	e := &CycleError{}
	var reported, visited = make(map[*Module]bool), make(map[*Module]bool)
	for _, root := range t.Modules {
		if root.rank >= 0 || reported[root] {
			continue
		}
		clear(visited)
		path := circle(root, root, visited)
		if path == nil {
			continue // it only leads into a circle
		}
		var names []string
		for _, m := range path {
			if !reported[m] {
				reported[m] = true
				e.Count++
			}
			names = append(names, m.Name)
		}
		e.Cycles = append(e.Cycles, append(names, root.Name))
	}
	return e
}

// circle returns a way from m back to root, nil if there is none.
func circle(m, root *Module, visited map[*Module]bool) []*Module {
	visited[m] = true
	for _, d := range slices.Backward(m.direct) {
		if d == root {
			return []*Module{m}
		}
		if visited[d] || d.rank >= 0 {
			continue
		}
		if rest := circle(d, root, visited); rest != nil {
			return append([]*Module{m}, rest...)
		}
	}
	return nil
}
