package depmod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/modinfo"
)

// A Tree is the modules of one kernel version.
type Tree struct {
	Version  string    // the kernel release, the directory's name
	Dir      string    // the module directory in the file system, free of links
	Modules  []*Module // in the order of all index files
	Problems []Problem // what was found on the way

	order, builtin, builtinInfo source
}

// A Module is one module of a tree.
type Module struct {
	Path string          // below the module directory, as modules.dep names it
	Name string          // as modprobe names it, with underscores
	Info *modinfo.Module // nil when the file could not be read
	Deps []*Module       // all it needs, also indirectly; users before the used

	real   string // where the file is, free of links
	direct []*Module
	index  int // place in Tree.Modules
	users  int
	rank   int // topological number; users have lower ones
}

// Options for [Scan]. The zero value is what kmod's depmod does.
type Options struct {
	// Workers is how many modules are read at once; 0: one for each core.
	Workers int
	// MaxModuleSize limits one unpacked module, see [modinfo.Reader.MaxSize].
	MaxModuleSize int64
	// Complete makes modules.order, modules.builtin and
	// modules.builtin.modinfo where they are missing: from KernelBuild if that
	// is given, else from what the tree itself tells.
	Complete bool
	// KernelBuild is a kernel's build directory (O=), nil if none is known.
	KernelBuild fs.FS
	// Progress, if set, is called now and then with the number of modules read.
	Progress func(done, total int)
}

// Scan reads the modules below dir (lib/modules/VERSION) of fsys. Links are
// followed as if fsys were the root directory.
//
// A module that cannot be read is a [Problem], not an error; it stays in
// modules.dep, as with kmod. A cycle of dependencies is a [*CycleError].
func Scan(ctx context.Context, fsys fs.FS, dir string, o Options) (*Tree, error) {
	real, err := chroot.Resolve(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	w := walker{fsys: fsys}
	if err := w.walk(real); err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	t := &Tree{Version: path.Base(dir), Dir: real, Problems: w.problems}
	modules, duplicates := precedence{search: defaultSearch}.choose(w.files)
	t.Modules = modules
	t.Problems = append(t.Problems, duplicates...)
	if err := t.readModules(ctx, fsys, o); err != nil {
		return nil, err
	}
	if err := t.readLists(fsys, o); err != nil {
		return nil, err
	}
	return t, t.resolve()
}

// readModules reads the facts of every module, several at once. What each
// worker finds lands at the module's own place, so timing decides nothing.
func (t *Tree) readModules(ctx context.Context, fsys fs.FS, o Options) error {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	errs := make([]error, len(t.Modules))
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(t.Modules)) {
		wg.Go(func() {
			r := modinfo.Reader{MaxSize: o.MaxModuleSize, WithoutCRCs: true}
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(t.Modules) {
					return
				}
				m := t.Modules[i]
				m.Info, errs[i] = readModule(&r, fsys, m.real)
				if n := done.Add(1); o.Progress != nil {
					o.Progress(int(n), len(t.Modules))
				}
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			p := failure(RuleModule, t.Modules[i].Path, err)
			p.Hint = moduleHint(err)
			t.Problems = append(t.Problems, p)
		}
	}
	return ctx.Err()
}

func readModule(r *modinfo.Reader, fsys fs.FS, name string) (*modinfo.Module, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if at, ok := f.(io.ReaderAt); ok {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return r.Read(at, info.Size())
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return r.Read(bytes.NewReader(b), int64(len(b)))
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
