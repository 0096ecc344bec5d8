package depmod

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/kstage/kstage/depmod/index"
)

// A File is one file of a module directory, to be written.
type File struct {
	Name string // "modules.dep"
	// Made tells from what a list was made that the tree lacked; "" for an index.
	Made  string
	Write func(w io.Writer) error
}

// Files gives the eleven index files, in the order in which kmod writes them
// (ten for releases before 33, which had no weak dependencies), and before them
// the lists that were missing and are made; without those of parts that are the
// same. Problems are what did not find its way into an index.
func (t *Tree) Files() ([]File, []Problem) {
	x, problems := t.indexes()
	files := []File{
		{Name: "modules.dep", Write: text("", x.dep)},
		{Name: "modules.dep.bin", Write: x.deps.writeTo},
		{Name: "modules.alias", Write: text("# Aliases extracted from modules themselves.\n", t.lines("alias", "alias"))},
		{Name: "modules.alias.bin", Write: x.aliases.writeTo},
		{Name: "modules.softdep", Write: text("# Soft dependencies extracted from modules themselves.\n", t.lines("softdep", "softdep"))},
		{Name: weakdepName, Write: text("# Weak dependencies extracted from modules themselves.\n", t.lines("weakdep", "weakdep"))},
		{Name: "modules.symbols", Write: text("# Aliases for symbols, used by symbol_request().\n", x.symbolList.text)},
		{Name: "modules.symbols.bin", Write: x.symbols.writeTo},
		{Name: "modules.builtin.bin", Write: x.builtins.writeTo},
		{Name: "modules.builtin.alias.bin", Write: x.builtinAliases.writeTo},
		{Name: "modules.devname", Write: text("", x.devname)},
	}
	files = slices.DeleteFunc(files, func(f File) bool {
		return t.Same[PartOf(f.Name)] || t.compat < 33 && f.Name == weakdepName
	})
	return append(t.madeFiles(), files...), problems
}

// indexes are what the files are written from.
type indexes struct {
	deps, aliases, symbols, builtins, builtinAliases trie

	depLines   []string
	symbolList symbolList
	devname    func(*bufio.Writer)
}

// dep writes modules.dep.
func (x *indexes) dep(w *bufio.Writer) {
	for _, line := range x.depLines {
		w.WriteString(line)
		w.WriteByte('\n')
	}
}

// indexes fills them side by side. The problems come in the order of the files.
func (t *Tree) indexes() (x indexes, problems []Problem) {
	steps := []struct {
		part Part
		fill func(*indexer)
	}{
		{Needs, func(ix *indexer) {
			x.depLines = t.depLines()
			x.deps = ix.depIndex(x.depLines)
		}},
		{Words, func(ix *indexer) { x.aliases = ix.aliases() }},
		{Offers, func(ix *indexer) {
			x.symbolList = t.sortedSymbols()
			x.symbols = ix.symbolIndex(x.symbolList)
		}},
		{Offers, func(ix *indexer) { x.builtins = ix.builtins() }},
		{Offers, func(ix *indexer) { x.builtinAliases = ix.builtinAliases() }},
		{Words, func(ix *indexer) { x.devname = ix.devname() }},
	}
	found := make([][]Problem, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		if t.Same[step.part] {
			continue
		}
		wg.Go(func() {
			ix := indexer{tree: t}
			step.fill(&ix)
			found[i] = ix.problems
		})
	}
	wg.Wait()
	return x, slices.Concat(found...)
}

func (t *Tree) madeFiles() []File {
	var files []File
	for _, l := range t.lists() {
		if l.made == "" {
			continue
		}
		files = append(files, File{Name: l.name, Made: l.made, Write: func(w io.Writer) error {
			_, err := w.Write(l.data)
			return err
		}})
	}
	return files
}

// text makes a File's writer of something that writes lines; the bufio.Writer
// keeps the first error.
func text(header string, lines func(w *bufio.Writer)) func(io.Writer) error {
	return func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 16<<10)
		b.WriteString(header)
		lines(b)
		return b.Flush()
	}
}

// depLines are the lines of modules.dep, "PATH: PATH PATH…".
func (t *Tree) depLines() []string {
	size := 0
	for _, m := range t.Modules {
		size += len(m.Path) + len(":")
		for _, d := range m.Deps {
			size += len(" ") + len(d.Path)
		}
	}
	var all strings.Builder // made faster than many small texts
	all.Grow(size)
	lines := make([]string, len(t.Modules))
	for i, m := range t.Modules {
		from := all.Len()
		all.WriteString(m.Path)
		all.WriteByte(':')
		for _, d := range m.Deps {
			all.WriteByte(' ')
			all.WriteString(d.Path)
		}
		lines[i] = all.String()[from:]
	}
	return lines
}

// lines writes "WORD MODULE VALUE", for aliases "alias VALUE MODULE", for every
// value of a .modinfo key.
func (t *Tree) lines(word, key string) func(w *bufio.Writer) {
	return func(w *bufio.Writer) {
		for _, m := range t.Modules {
			if m.Info == nil {
				continue
			}
			for value := range m.Info.All(key) {
				first, second := m.Name, value
				if word == "alias" {
					first, second = value, m.Name
				}
				for _, s := range []string{word, " ", first, " ", second, "\n"} {
					w.WriteString(s)
				}
			}
		}
	}
}

// symbolList is every exported symbol with its owner, in the order of kmod's
// hash table.
type symbolList []exported

type exported struct {
	alias string // by which modprobe asks for it: "symbol:NAME"
	owner *Module
}

// sortedSymbols leaves out the kernel's own symbols, which no module offers.
func (t *Tree) sortedSymbols() symbolList {
	keys := make([]uint64, 0, len(t.symbols.owners)) // bucket, and number of the symbol
	size := 0
	for n, o := range t.symbols.owners {
		if o.module != nil {
			name := t.symbols.name(uint32(n))
			keys = append(keys, uint64(superFastHash(name)%symbolBuckets)<<32|uint64(n))
			size += len("symbol:") + len(name)
		}
	}
	name := func(key uint64) string { return t.symbols.name(uint32(key)) }
	slices.SortFunc(keys, func(x, y uint64) int {
		if x>>32 != y>>32 {
			return cmp.Compare(x, y)
		}
		return strings.Compare(name(x), name(y))
	})
	var text strings.Builder
	text.Grow(size)
	for _, key := range keys {
		text.WriteString("symbol:")
		text.WriteString(name(key))
	}
	list := make(symbolList, len(keys))
	rest := text.String()
	for i, key := range keys {
		n := len("symbol:") + len(name(key))
		list[i], rest = exported{rest[:n], t.symbols.owners[uint32(key)].module}, rest[n:]
	}
	return list
}

func (l symbolList) text(w *bufio.Writer) {
	for _, s := range l {
		for _, part := range []string{"alias ", s.alias, " ", s.owner.Name, "\n"} {
			w.WriteString(part)
		}
	}
}

// An indexer fills binary indexes and notes what does not fit into them.
type indexer struct {
	tree     *Tree
	problems []Problem
}

// trie is a binary index that is being filled; an absent one is a file of no
// bytes, which is what kmod leaves when its source is missing.
type trie struct {
	*index.Builder
}

func (x trie) writeTo(w io.Writer) error {
	if x.Builder == nil {
		return nil
	}
	_, err := x.WriteTo(w)
	return err
}

// newTrie makes an index with room for so many entries.
func (ix *indexer) newTrie(entries int) trie {
	layout := index.PreOrder
	if ix.tree.compat < 34 {
		layout = index.PostOrder
	}
	x := trie{&index.Builder{Layout: layout}}
	x.Grow(entries)
	return x
}

// add enters a value; one with other than 7-bit characters does not fit the
// format and stays out.
func (ix *indexer) add(to trie, path, key, value string, priority uint32) {
	if err := to.Add(key, value, priority); err != nil {
		p := warning(RuleASCII, path, "", "%q stays out of the binary index: %v", key, err)
		p.Err = err
		ix.problems = append(ix.problems, p)
	}
}

// normalized gives an alias the form that look-ups ask for.
func (ix *indexer) normalized(path, alias string) (string, bool) {
	key, err := index.Normalize(alias)
	if err != nil {
		p := warning(RuleBracket, path, "", "the alias %q stays out of the binary index: %v", alias, err)
		p.kmod = "Unmatched bracket in " + alias
		ix.problems = append(ix.problems, p)
	}
	return key, err == nil
}

func (ix *indexer) depIndex(lines []string) trie {
	deps := ix.newTrie(len(lines))
	for i, m := range ix.tree.Modules {
		ix.add(deps, m.Path, m.Name, lines[i], uint32(i))
	}
	return deps
}

func (ix *indexer) aliases() trie {
	number := 0
	for _, m := range ix.tree.Modules {
		if m.Info != nil {
			for range m.Info.All("alias") {
				number++
			}
		}
	}
	aliases := ix.newTrie(number)
	for i, m := range ix.tree.Modules {
		if m.Info == nil {
			continue
		}
		for alias := range m.Info.All("alias") {
			if key, ok := ix.normalized(m.Path, alias); ok {
				ix.add(aliases, m.Path, key, m.Name, uint32(i))
			}
		}
	}
	return aliases
}

func (ix *indexer) symbolIndex(symbols symbolList) trie {
	x := ix.newTrie(len(symbols))
	for _, s := range symbols {
		ix.add(x, s.owner.Path, s.alias, s.owner.Name, uint32(s.owner.index))
	}
	return x
}

// builtins indexes the names in modules.builtin.
func (ix *indexer) builtins() trie {
	if !ix.tree.builtin.present {
		ix.problems = append(ix.problems, missing(RuleBuiltin, builtinName))
		return trie{}
	}
	x := ix.newTrie(0)
	for line := range bytes.Lines(ix.tree.builtin.data) {
		if !builtinLine(line) {
			p := warning(RuleBuiltin, builtinName, "", "the line %q is no module path", line)
			p.Severity, p.kmod = Error, "Invalid modules.builtin line: "+string(line)
			ix.problems = append(ix.problems, p)
			continue
		}
		// a line without a dot keeps its newline in the name, as with kmod
		ix.add(x, builtinName, ModuleName(string(line)), "", 0)
	}
	return x
}

// builtinAliases indexes the aliases in modules.builtin.modinfo.
func (ix *indexer) builtinAliases() trie {
	if !ix.tree.builtinInfo.present {
		ix.problems = append(ix.problems, missing(RuleBuiltinInfo, builtinInfoName))
		return trie{}
	}
	x := ix.newTrie(0)
	for alias, module := range ix.tree.BuiltInAliases() {
		if key, ok := ix.normalized(builtinInfoName, alias); ok {
			ix.add(x, builtinInfoName, key, module, 0)
		}
	}
	return x
}
