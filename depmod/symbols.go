package depmod

import (
	"slices"
	"strings"
	"sync"
)

// owner tells who offers a symbol; the kernel's own have no module.
type owner struct {
	module *Module
	crc    uint64
	known  bool
}

// symbols tells who offers each symbol. Those that a cache has numbers for have the same
// ones here.
type symbols struct {
	owners []owner // by the number of the name
	dotted bool    // one of the names begins with a dot

	names    nameTable
	findable sync.Once
}

// newSymbols begins with names, which it does not change, and has room for more.
func newSymbols(names []string, more int) *symbols {
	s := &symbols{names: nameTable{list: slices.Clip(names)}, owners: make([]owner, len(names), len(names)+more)}
	s.dotted = slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, ".") })
	return s
}

func (s *symbols) set(name string, o owner) {
	n := s.names.number(name)
	if int(n) == len(s.owners) {
		s.owners = append(s.owners, owner{})
	}
	s.owners[n] = o
}

// owner tells who offers a symbol, if it is known.
func (s *symbols) owner(name string) owner {
	s.findable.Do(s.names.makeRoom) // of a tree several may ask at once
	if n, known := s.names.find(name); known {
		return s.owners[n]
	}
	return owner{}
}

// name is the name with a number.
func (s *symbols) name(n uint32) string { return s.names.list[n] }

// numbered is owner for the number of an import.
func (s *symbols) numbered(n uint32) owner {
	if s.dotted {
		return s.owner(undotted(s.name(n)))
	}
	return s.owners[n]
}

// undotted is the name of the symbol that an import means: PowerPC names functions with a
// leading dot, exports lack it.
func undotted(name string) string { return strings.TrimPrefix(name, ".") }

// symbolTable finds out who offers what; of several owners the last in module order has
// it, before the kernel.
func (t *Tree) symbolTable(o Options) *symbols {
	var names []string
	size := 0
	if o.numbered() {
		names = o.Cache.names.list
	}
	if o.Kernel != nil {
		size = len(o.Kernel.crcs)
	}
	for _, m := range t.Modules {
		if m.Info != nil {
			size += len(m.Info.Exports)
		}
	}
	s := newSymbols(names, size)
	if o.Kernel != nil {
		for name, crc := range o.Kernel.crcs {
			s.set(name, owner{crc: crc, known: true})
		}
	}
	for _, m := range t.Modules {
		switch {
		case m.Info == nil:
		case m.remembered != nil && o.numbered():
			for i := range m.asks.exports.len() {
				s.owners[m.asks.exports.at(i)] = owner{module: m, known: true}
			}
		default:
			for _, e := range m.Info.Exports {
				s.set(dropPrefix(e.Name, o.Prefix), owner{m, e.CRC, true})
			}
		}
	}
	return s
}

// numbered tells whether modules that the cache remembers are told apart by numbers: where
// symbols have no versions, and mean what they are.
func (o *Options) numbered() bool { return o.Cache != nil && o.Kernel == nil && o.Prefix == 0 }

// Owner is the module that other modules get a symbol from, nil when no module
// offers it.
func (t *Tree) Owner(symbol string) *Module { return t.symbols.owner(symbol).module }

// Symbols are the names of all symbols that modules offer, sorted.
func (t *Tree) Symbols() []string {
	var names []string
	for i, o := range t.symbols.owners {
		if o.module != nil {
			names = append(names, t.symbols.name(uint32(i)))
		}
	}
	slices.Sort(names)
	return names
}
