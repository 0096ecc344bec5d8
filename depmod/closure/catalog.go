package closure

import (
	"bytes"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/index"
)

// A Catalog finds the modules of a tree by everything they can be asked for.
type Catalog struct {
	tree    *depmod.Tree
	config  Config
	modules map[string]*depmod.Module // by name
	place   map[*depmod.Module]int    // in the tree
	builtin map[string]string         // name → path
	known   bool                      // what is built in

	configAliases, aliases, builtinAliases *index.Index
}

// New makes the catalog of a tree that was scanned, with what modprobe.d says.
func New(tree *depmod.Tree, config Config) (*Catalog, error) {
	c := &Catalog{tree: tree, config: config, modules: make(map[string]*depmod.Module), place: make(map[*depmod.Module]int),
		builtin: make(map[string]string)}
	for i, m := range tree.Modules {
		c.modules[m.Name], c.place[m] = m, i
	}
	paths, known := tree.BuiltIn()
	for _, p := range paths {
		c.builtin[depmod.ModuleName(p)] = p
	}
	c.known = known
	var err error
	c.aliases, err = indexOf(func(add func(alias, module string)) {
		for _, m := range tree.Modules {
			if m.Info == nil {
				continue
			}
			for alias := range m.Info.All("alias") {
				add(alias, m.Name)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	c.configAliases, err = indexOf(func(add func(alias, module string)) {
		for _, a := range config.Aliases {
			add(a.Pattern, a.Module)
		}
	})
	if err != nil {
		return nil, err
	}
	c.builtinAliases, err = indexOf(func(add func(alias, module string)) {
		for alias, module := range tree.BuiltInAliases() {
			add(alias, module)
		}
	})
	return c, err
}

// indexOf makes an index of aliases; the first of those that match comes first. An
// alias that does not fit into one is in none of kmod's either, and depmod reports it.
func indexOf(each func(add func(alias, module string))) (*index.Index, error) {
	var b index.Builder
	each(func(alias, module string) {
		if key, err := index.Normalize(alias); err == nil {
			_ = b.Add(key, module, uint32(b.Len())) // see above
		}
	})
	var data bytes.Buffer
	if _, err := b.WriteTo(&data); err != nil {
		return nil, err
	}
	return index.Open(data.Bytes())
}

// A target is what a name leads to: a module of the tree, or one that is part of the
// kernel.
type target struct {
	module  *depmod.Module
	builtin string
	aliased bool // found by an alias, for which a blacklist holds
}

// named finds what has exactly that name.
func (c *Catalog) named(name string, aliased bool) []target {
	if m := c.modules[name]; m != nil {
		return []target{{module: m, aliased: aliased}}
	}
	if _, ok := c.builtin[name]; ok {
		return []target{{builtin: name, aliased: aliased}}
	}
	return nil
}

// lookup finds the modules of a name or alias as modprobe does: the first of the
// aliases of modprobe.d, the names of modules, symbols, aliases of modules, names of
// built-in modules, and their aliases, that knows it.
func (c *Catalog) lookup(text string) []target {
	text, err := index.Normalize(text)
	if err != nil {
		return nil
	}
	if found := c.aliased(c.configAliases, text); len(found) > 0 {
		return found
	}
	if m := c.modules[text]; m != nil {
		return []target{{module: m}}
	}
	if symbol, ok := strings.CutPrefix(text, "symbol:"); ok {
		if m := c.tree.Owner(symbol); m != nil {
			return []target{{module: m, aliased: true}}
		}
	}
	if found := c.aliased(c.aliases, text); len(found) > 0 {
		return found
	}
	if found := c.named(text, false); len(found) > 0 {
		return found
	}
	return c.aliased(c.builtinAliases, text)
}

// aliased finds the modules of an alias in one index, in the order of their priority.
func (c *Catalog) aliased(ix *index.Index, text string) (found []target) {
	for _, v := range ix.Match(text) {
		if ix == c.builtinAliases {
			found = append(found, target{builtin: v.Text, aliased: true})
			continue
		}
		found = append(found, c.named(v.Text, true)...)
	}
	return found
}
