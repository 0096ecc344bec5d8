package depmod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/modinfo"
)

// A Tree is the modules of one kernel version.
type Tree struct {
	Version  string    // the kernel release, the directory's name
	Dir      string    // the module directory in the file system, free of links
	Modules  []*Module // in the order of all index files
	Problems []Problem // what was found on the way
	Modified time.Time // when the newest of the module files was; zero when none could be opened
	// Made is what the parts of the index are made from; zero where that is not known, or
	// there is something to say each time.
	Made Sums
	Same [parts]bool // they are there already, see Options

	compat                      int
	prefix                      byte
	symbols                     *symbols
	order, builtin, builtinInfo source
}

// A Module is one module of a tree.
type Module struct {
	Path string          // below the module directory, as modules.dep names it
	Name string          // as modprobe names it, with underscores
	Info *modinfo.Module // nil when the file could not be read
	Deps []*Module       // all it needs, also indirectly; users before the used

	file       found
	remembered *remembered // in the cache; nil if it is not
	asks       asks        // if it is
	modified   time.Time
	err        error // why Info is nil
	direct     []need
	index      int // place in Tree.Modules
	users      int
	rank       int // topological number; users have lower ones
}

// Direct yields the modules that m itself needs, in order of first use, each
// with the first symbol that m needs from it.
func (m *Module) Direct(yield func(*Module, string) bool) {
	for _, n := range m.direct {
		if !yield(n.module, n.symbol) {
			return
		}
	}
}

// Options for [Scan]. The zero value is what kmod's depmod does.
type Options struct {
	// Workers is how many modules are read at once; 0: one for each core.
	Workers int
	// MaxModuleSize limits one unpacked module, see [modinfo.Reader.MaxSize].
	MaxModuleSize int64
	// Cache remembers what modules say, nil does not. Facts are the same with it,
	// but that it keeps CRCs for a Kernel with versions only.
	Cache *Cache
	// Same, if set, is told what a part of the index will be made from, where the Cache
	// knows enough, and says whether there are files that were made from the same. These
	// are not among the Files of the tree, which is only good for the others: modules have
	// no Deps where they need not be known, and no more in their Info than Files need.
	Same func(part Part, from Sum) bool
	// Progress, if set, is called now and then with the number of modules read.
	Progress func(done, total int)

	// Complete makes modules.order, modules.builtin and
	// modules.builtin.modinfo where they are missing: from KernelBuild if that
	// is given, else from what the tree itself tells.
	Complete bool
	// KernelBuild is a kernel's build directory (O=), nil if none is known.
	KernelBuild fs.FS

	// Config is what depmod.d says.
	Config Config
	// Host holds the external directories of Config, and Files; nil if there
	// are none.
	Host fs.FS
	// Files, absolute paths, are taken instead of the directory's modules.
	Files []string

	// Kernel are the symbols of the kernel itself, nil if they are not known.
	Kernel *KernelSymbols
	// Check reports symbols that neither Kernel nor a module has.
	Check bool
	// Prefix is the character that symbols begin with on some old machines.
	Prefix byte

	// Compat is the kmod release whose files are wanted: 34 (also 0), 33 or 30.
	Compat int
}

// Scan reads the modules below dir (lib/modules/VERSION) of fsys. Links are
// followed as if fsys were the root directory.
//
// A module that cannot be read is a [Problem], not an error; it stays in
// modules.dep, as with kmod. A cycle of dependencies is a [*CycleError]; the tree
// that comes with it has no Deps.
func Scan(ctx context.Context, fsys fs.FS, dir string, o Options) (*Tree, error) {
	t := &Tree{Version: path.Base(dir), compat: o.Compat, prefix: o.Prefix}
	if t.compat == 0 {
		t.compat = 34
	}
	if err := t.collect(fsys, dir, o); err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	if err := t.readLists(fsys); err != nil {
		return nil, err
	}
	found := len(t.Problems)
	if o.mayBeSame() {
		var err error
		if t.Made, err = t.madeFrom(ctx, o); err != nil {
			return nil, err
		}
		for part, made := range t.Made {
			t.Same[part] = made != (Sum{}) && o.Same(Part(part), made)
		}
		if t.AllSame() {
			t.setModified()
			return t, nil
		}
	}
	if err := t.readModules(ctx, o, t.unread()); err != nil {
		return nil, err
	}
	if err := t.completeLists(o); err != nil {
		return nil, err
	}
	t.setModified()
	for _, m := range t.Modules {
		if m.err != nil {
			p := failure(RuleModule, m.Path, m.err)
			p.Hint = moduleHint(m.err)
			t.Problems = append(t.Problems, p)
		}
	}
	var err error
	if !t.Same[Needs] || !t.Same[Offers] {
		err = t.resolve(o)
	}
	if len(t.Problems) > found || !t.hasLists() {
		t.Made = Sums{} // there is something to say each time
	}
	return t, err
}

func (t *Tree) setModified() {
	for _, m := range t.Modules {
		if m.modified.After(t.Modified) {
			t.Modified = m.modified
		}
	}
}

// unread are the modules that have not been looked into.
func (t *Tree) unread() []*Module {
	var modules []*Module
	for _, m := range t.Modules {
		if m.Info == nil && m.err == nil {
			modules = append(modules, m)
		}
	}
	return modules
}

// collect finds the module files.
func (t *Tree) collect(fsys fs.FS, dir string, o Options) error {
	real, err := chroot.Resolve(fsys, dir)
	if len(o.Files) > 0 {
		t.Dir = path.Clean(dir)
		if err == nil {
			t.Dir = real
		}
		return t.takeFiles(o)
	}
	if err != nil {
		return err
	}
	t.Dir = real
	all, err := o.Config.walk(fsys, real, "")
	if err != nil {
		return err
	}
	if o.Host != nil {
		outside := o.Config.externals(o.Host)
		all.files = append(all.files, outside.files...)
		all.problems = append(all.problems, outside.problems...)
	}
	files, duplicates := o.Config.choose(all.files)
	modules := make([]Module, len(files))
	for i, f := range files {
		modules[i] = Module{Path: f.path, Name: ModuleName(f.path), file: f}
		t.Modules = append(t.Modules, &modules[i])
	}
	t.Problems = append(all.problems, duplicates...)
	return nil
}

// takeFiles takes named files as the modules.
func (t *Tree) takeFiles(o Options) error {
	names := make(map[string]string)
	for _, file := range o.Files {
		name := ModuleName(path.Base(file))
		if other, taken := names[name]; taken {
			return fmt.Errorf("%s and %s are the same module: name one of them", other, file)
		}
		names[name] = file
		f := found{fsys: o.Host, path: file, real: strings.TrimPrefix(path.Clean(file), "/")}
		if rel, ok := strings.CutPrefix(f.real, t.Dir+"/"); ok {
			f.path = rel
		}
		t.Modules = append(t.Modules, &Module{Path: f.path, Name: name, file: f})
	}
	return nil
}

// readModules reads the facts of modules, several at once. What each worker finds
// lands at the module's own place, so timing decides nothing.
func (t *Tree) readModules(ctx context.Context, o Options, modules []*Module) error {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if o.Cache != nil {
		o.Cache.loading.Wait()
	}
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(modules)) {
		wg.Go(func() {
			r := cacheReader{cache: o.Cache, brief: o.brief()}
			r.MaxSize, r.WithoutCRCs = o.MaxModuleSize, o.Kernel == nil || !o.Kernel.Versions
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(modules) {
					return
				}
				modules[i].err = r.readModule(modules[i])
				if n := done.Add(1); o.Progress != nil {
					o.Progress(int(n), len(modules))
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// moduleHint is the way out for a module that cannot be read.
func moduleHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "make the file readable for the user who runs kstage"
	case errors.Is(err, modinfo.ErrTooLarge):
		return "raise the limit with --max-module-size if the module is genuine"
	case errors.Is(err, modinfo.ErrTooShort), errors.Is(err, modinfo.ErrNotELF),
		errors.Is(err, modinfo.ErrMalformed), errors.Is(err, modinfo.ErrPacking):
		return "copy the module again, rebuild it, or remove the file"
	}
	return ""
}

// List finds the modules below dir as [Scan] does, but reads none: they have no Info
// and no Deps, and come in the order of their paths.
func List(fsys fs.FS, dir string, o Options) (*Tree, error) {
	t := &Tree{Version: path.Base(dir)}
	if err := t.collect(fsys, dir, o); err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	slices.SortFunc(t.Modules, func(a, b *Module) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

// Open opens the module's file.
func (m *Module) Open() (fs.File, error) { return m.file.fsys.Open(m.file.real) }
