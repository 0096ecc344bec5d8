package depmod

import (
	"bytes"
	"iter"
	"strings"
)

// Subset is the tree that holds only the modules that keep says: its files are what
// depmod would write if the others were not there. modules.order goes with the
// modules; modules.builtin and modules.builtin.modinfo stay whole, as they tell of
// the kernel. t is not changed, and its modules are not those of the subset.
//
// What a kept module needs should be kept too; it is missing among its Deps
// otherwise. Errors are those of [Scan] that tell of cycles.
func (t *Tree) Subset(keep func(*Module) bool) (*Tree, error) {
	sub := *t
	sub.Modules, sub.Problems, sub.symbols = nil, nil, nil
	left := make(map[string]bool)
	for _, m := range t.Modules {
		if !keep(m) {
			left[m.Path] = true
			continue
		}
		sub.Modules = append(sub.Modules, &Module{Path: m.Path, Name: m.Name, Info: m.Info, file: m.file, err: m.err})
	}
	for _, p := range t.Problems {
		if !left[p.Path] {
			sub.Problems = append(sub.Problems, p)
		}
	}
	sub.orderOf(sub.Modules)
	return &sub, sub.resolve(Options{Prefix: t.prefix})
}

// orderOf leaves in modules.order the lines of modules. A file that depmod cannot
// read stays as it is, and is ignored as before.
func (t *Tree) orderOf(modules []*Module) {
	lines, _, err := parseOrder(t.order.data)
	if err != nil {
		return
	}
	there := make(map[string]bool, len(modules))
	for _, m := range modules {
		there[orderKey(m.Path)] = true
	}
	var out bytes.Buffer
	for _, line := range lines {
		if there[line] {
			out.WriteString(line + "\n")
		}
	}
	if out.Len() == len(t.order.data) {
		return
	}
	t.order.data = out.Bytes()
	if t.order.made == "" {
		t.order.made = "the tree's own, for the modules that are taken"
	}
}

// File is where the module's file is in the file system it was found in, free of
// links.
func (m *Module) File() string { return m.file.real }

// BuiltIn lists the modules that are part of the kernel, as modules.builtin has
// them: kernel/lib/crc16.ko. known is false when the tree does not tell.
func (t *Tree) BuiltIn() (paths []string, known bool) {
	for line := range bytes.Lines(t.builtin.data) {
		if line = bytes.TrimSuffix(line, []byte("\n")); builtinLine(line) {
			paths = append(paths, string(line))
		}
	}
	return paths, len(t.builtin.data) > 0
}

// builtinLine tells whether kmod takes a line of modules.builtin.
func builtinLine(line []byte) bool {
	return len(line) > 0 && line[0]|0x20 >= 'a' && line[0]|0x20 <= 'z'
}

// BuiltInAliases yields alias and module of what is part of the kernel, as
// modules.builtin.modinfo has them. As with kmod, a last string without NUL and one
// without a module name count for nothing.
func (t *Tree) BuiltInAliases() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for data := string(t.builtinInfo.data); ; {
			entry, rest, ended := strings.Cut(data, "\x00")
			if !ended {
				return
			}
			data = rest
			module, field, _ := strings.Cut(entry, ".")
			key, alias, _ := strings.Cut(field, "=")
			if key == "alias" && module != "" && !yield(alias, module) {
				return
			}
		}
	}
}
