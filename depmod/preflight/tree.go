package preflight

import (
	"context"
	"debug/elf"
	"io/fs"
	"path"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// Tree tells what would become of each module below dir (lib/modules/VERSION) of a
// tree that modprobe loads: what it needs is loaded before, when it is in the tree,
// and when that fails, it fails. Results are in the order of the modules' paths.
//
// What the kernel's image does not tell is taken from the kernel's own modules in the
// tree: version magic, the size of struct module, flags of the ELF header. progress,
// which may be nil, is called now and then from several goroutines.
func (c *Check) Tree(ctx context.Context, fsys fs.FS, dir string, progress func(done, total int)) ([]Result, error) {
	list, err := depmod.List(fsys, dir, depmod.Options{})
	if err != nil {
		return nil, err
	}
	t := &tree{check: *c, dir: list.Dir, modules: make([]*treeModule, len(list.Modules)), progress: progress}
	t.check.modprobe = true
	for i, m := range list.Modules {
		t.modules[i] = &treeModule{file: m}
	}
	t.learn()
	if err := t.read(ctx); err != nil {
		return nil, err
	}
	t.loaded = t.exports()
	results := make([]Result, len(t.modules))
	for i, m := range t.modules {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		results[i] = *t.result(m)
	}
	return results, nil
}

// A tree is checked in two passes. The first one unpacks each module once, several at
// a time, and does all that takes the module's bytes. What depends on the exports of
// other modules is done in the second, with the little that is kept of each.
type tree struct {
	check    Check
	dir      string
	modules  []*treeModule
	progress func(done, total int)
	loaded   *Loaded
	owners   map[*loadedModule]*treeModule
}

type treeModule struct {
	file     *depmod.Module
	m        *module
	findings [][]Finding // of reading, then of each step
	result   *Result
	deps     []*treeModule
	asked    bool // the result is being worked out
}

// read is the first pass. What each worker finds lands at the module's own place, so
// timing decides nothing.
func (t *tree) read(ctx context.Context) error {
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(t.modules)) {
		wg.Go(func() {
			var u modinfo.Unpacker
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(t.modules) {
					return
				}
				t.readModule(&u, t.modules[i])
				if n := done.Add(1); t.progress != nil {
					t.progress(int(n), len(t.modules))
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

func (t *tree) readModule(u *modinfo.Unpacker, tm *treeModule) {
	tm.m, tm.findings = t.open(u, tm, nil)
	if tm.m.elf != nil {
		tm.m.compact()
	}
	tm.m.data = nil
}

// open reads a module and takes the steps.
func (t *tree) open(u *modinfo.Unpacker, tm *treeModule, loaded *Loaded) (*module, [][]Finding) {
	m := t.check.module(path.Join(t.dir, tm.file.Path), loaded)
	f, err := tm.file.Open()
	if err != nil {
		return m, [][]Finding{m.take(nil, err)}
	}
	defer f.Close()
	r, size, err := readerAt(f)
	if err != nil {
		return m, [][]Finding{m.take(nil, err)}
	}
	findings := [][]Finding{t.check.read(u, m, r, size)}
	if m.data == nil {
		return m, findings
	}
	for _, s := range steps {
		used := len(m.used)
		findings = append(findings, s.take(&t.check, m))
		if s.late && loaded == nil {
			m.used = m.used[:used]
		}
		if m.parsed && m.elf == nil {
			break
		}
	}
	return m, findings
}

// compact keeps of the symbols those that lie in no section, and lets go of the
// module's bytes.
func (m *module) compact() {
	symbols, text := make(elf64.Symbols, 0, (len(m.placeless)+1)*elf64.SymbolSize), []byte{0}
	symbols = append(symbols, make([]byte, elf64.SymbolSize)...)
	for n, i := range m.placeless {
		name := m.symbolName(m.symbols.At(int(i)))
		symbols = append(symbols, m.symbols[int(i)*elf64.SymbolSize:][:elf64.SymbolSize]...)
		elf64.Order.PutUint32(symbols[len(symbols)-elf64.SymbolSize:], uint32(len(text)))
		text = append(append(text, name...), 0)
		m.placeless[n] = uint32(n + 1)
	}
	m.symbols, m.strings, m.data = symbols, text, nil
	kept := *m.elf
	kept.Data, kept.Sections = nil, nil
	m.elf = &kept
}

// exports gives the exports of all modules, as if these were loaded; none of them is,
// so that each can be.
func (t *tree) exports() *Loaded {
	all := &Loaded{exports: make(map[string]loadedExport)}
	t.owners = make(map[*loadedModule]*treeModule)
	for _, tm := range t.modules {
		if tm.m.elf == nil || len(tm.m.exports) == 0 {
			continue
		}
		t.owners[all.addExports(tm.m)] = tm
	}
	all.together = func(m *module, owner *loadedModule) bool { return t.needs(m, t.owners[owner]) }
	return all
}

// result works out what becomes of a module, and before that of those that it needs.
func (t *tree) result(tm *treeModule) *Result {
	if tm.result != nil || tm.asked { // asked: a circle of modules, none of which can be loaded
		return tm.result
	}
	tm.asked = true
	m := tm.m
	weak := false
	if m.elf != nil {
		tm.deps, weak = t.direct(m)
	}
	var before []Finding
	for _, needed := range tm.deps {
		if f := t.needed(m, needed); f != nil {
			before = append(before, *f)
		}
	}
	if weak {
		tm.m, tm.findings = t.open(new(modinfo.Unpacker), tm, t.loaded)
	} else if m.elf != nil {
		t.late(tm)
	}
	r := assemble(tm.m, ordered(append([][]Finding{before}, tm.findings...)))
	tm.result = &r
	tm.findings = nil
	return tm.result
}

// late takes the steps again that depend on other modules.
func (t *tree) late(tm *treeModule) {
	tm.m.loaded = t.loaded
	for i, s := range steps {
		if s.late {
			tm.findings[i+1] = s.take(&t.check, tm.m)
		}
	}
}

// direct lists the modules that m needs, in the order of the symbol table. weak tells
// whether one of them is for an optional symbol: what relocations come to depends on it.
func (t *tree) direct(m *module) (deps []*treeModule, weak bool) {
	seen := make(map[*treeModule]bool)
	for _, i := range m.placeless {
		s := m.symbols.At(int(i))
		if elf.SectionIndex(s.Section) != elf.SHN_UNDEF {
			continue
		}
		name := m.symbolName(s)
		if _, ok := m.facts.Exports[string(name)]; ok {
			continue
		}
		e, ok := t.loaded.exports[string(name)]
		if !ok {
			continue
		}
		weak = weak || elf.SymBind(s.Info>>4) == elf.STB_WEAK
		if owner := t.owners[e.owner]; !seen[owner] && owner.m != m {
			seen[owner] = true
			deps = append(deps, owner)
		}
	}
	return deps, weak
}

// needed tells what it means that another module is loaded before; nil when that is
// well.
func (t *tree) needed(m *module, other *treeModule) *Finding {
	r := t.result(other)
	if r == nil {
		return &Finding{Rule: DepNotStaged, Severity: Fail, Errno: ENOENT, Text: "it and " + other.m.name + " need each other, so that none can be loaded first"}
	}
	f := &Finding{Rule: DepNotStaged, From: r.From, Dmesg: r.Dmesg, Hint: "see there"}
	switch r.Verdict {
	case Fails:
		f.Severity, f.Errno, f.Text = Fail, r.Errno, "it needs "+r.Module+", which does not load"
	case Crashes:
		f.Severity, f.Text = Crash, "it needs "+r.Module+", which crashes"
	case Unknown:
		f.Severity, f.Text, f.Dmesg = Info, "it needs "+r.Module+", of which it is not known whether it loads", nil
		m.used = append(m.used, kernel.Unknown)
	default:
		return nil
	}
	return f
}

// needs tells whether another module is loaded before m.
func (t *tree) needs(m *module, other *treeModule) bool {
	seen := make(map[*treeModule]bool)
	todo, _ := t.direct(m)
	for len(todo) > 0 {
		tm := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if tm == other {
			return true
		}
		if !seen[tm] {
			seen[tm] = true
			todo = append(todo, tm.deps...)
		}
	}
	return false
}
