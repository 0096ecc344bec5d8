package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/modinfo"
)

// A Module is a module file that is to be staged.
type Module struct {
	// Path is where the module belongs below the module directory, without what
	// the packing adds: "kernel/fs/ext4/ext4.ko".
	Path string
	// FS and File tell where it lies.
	FS   fs.FS
	File string

	// Release is the kernel that the module says it is built for, the first word of
	// its vermagic; [Check] sets it.
	Release string
	// Signed tells whether a signature is appended to it; [Check] sets it.
	Signed bool
	// Err tells why the file is no module that can be read; [Check] sets it.
	Err error
}

// Name is the module's name, with underscores.
func (m *Module) Name() string { return depmod.ModuleName(m.Path) }

// modulePath gives the path of a module's file without what the packing adds.
func modulePath(file string) string {
	return strings.TrimSuffix(file, depmod.ModuleSuffix(file)) + ".ko"
}

// Check looks at every module before anything is written: whether it can be read, and
// for which kernel it is. The error is that of ctx.
func Check(ctx context.Context, modules []Module, o Options) error {
	return o.each(ctx, len(modules), func() func(int) error {
		reader := modinfo.Reader{MaxSize: o.MaxModuleSize, WithoutSymbols: true, WithSignature: true}
		return func(i int) error {
			m := &modules[i]
			info, err := m.read(&reader)
			if m.Err = err; err == nil {
				vermagic, _ := info.Get("vermagic")
				m.Release, _, _ = strings.Cut(vermagic, " ")
				m.Signed = info.Signature != nil
			}
			return nil
		}
	})
}

func (m *Module) read(reader *modinfo.Reader) (*modinfo.Module, error) {
	f, size, err := m.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if at, ok := f.(io.ReaderAt); ok { // a plain module is read in a few pieces
		return reader.Read(at, size)
	}
	data, err := readAll(f, reader.MaxSize)
	if err != nil {
		return nil, err
	}
	return reader.Read(bytes.NewReader(data), int64(len(data)))
}

func (m *Module) open() (fs.File, int64, error) {
	f, err := m.FS.Open(m.File)
	if err != nil {
		return nil, 0, reason(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, 0, reason(err)
	}
	return f, info.Size(), nil
}

// content reads the module's file, as it is packed.
func (m *Module) content(limit int64) ([]byte, error) {
	f, _, err := m.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

// readAll reads a file of at most limit bytes, 0 for the usual limit of a module.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = modinfo.DefaultMaxSize
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, &modinfo.FormatError{Kind: modinfo.ErrTooLarge, Offset: -1, Text: fmt.Sprintf("it has more than the limit of %d bytes", limit)}
	}
	return data, nil
}

// reason takes operation and path off an error of a file system: who reports it names
// the module.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// each does n things, several at once. Every worker gets a function of its own; the
// first error ends the work.
func (o *Options) each(ctx context.Context, n int, worker func() func(int) error) error {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			do := worker()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					stop(err)
					return
				}
				if d := done.Add(1); o.Progress != nil {
					o.Progress(int(d), n)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// ReadDir finds the modules below a directory of modules that are built outside the
// kernel; under is where they belong, such as "updates". Their places below the
// directory stay the same. Links to directories are not followed, links to files only
// where dir itself lets them be opened: with a directory that nothing leads out of, one
// that does is a problem.
func ReadDir(dir fs.FS, under string) ([]Module, []depmod.Problem, error) {
	var modules []Module
	var problems []depmod.Problem
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if depmod.ModuleSuffix(name) == "" || d.IsDir() {
			return nil
		}
		info, err := fs.Stat(dir, name)
		switch {
		case err != nil:
			problems = append(problems, depmod.Problem{Rule: depmod.RuleLink, Severity: depmod.Warning, Path: name, Err: err,
				Text: "the link leads nowhere inside the directory, left out", Hint: "name the file that it leads to"})
		case info.Mode().IsRegular():
			modules = append(modules, Module{Path: path.Join(under, modulePath(name)), FS: dir, File: name})
		case !info.IsDir():
			problems = append(problems, depmod.Problem{Rule: depmod.RuleSpecial, Severity: depmod.Warning, Path: name,
				Text: "is neither a file nor a directory, left out"})
		}
		return nil
	})
	return modules, problems, err
}

// Twice finds two modules that would come to lie at the same place, or that have the same
// name, so that one of them would hide the other; nil if there are none.
func Twice(modules []Module) (first, second *Module) {
	named := make(map[string]*Module)
	for i := range modules {
		m := &modules[i]
		if other := named[m.Name()]; other != nil {
			return other, m
		}
		named[m.Name()] = m
	}
	return nil, nil
}
