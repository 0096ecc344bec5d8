package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/modinfo"
)

// Options for [Check] and [Target.Stage]. The zero value stages modules as they are.
type Options struct {
	// Packing is how all module files are to be packed; nil leaves each as it is.
	Packing *modinfo.Compression
	// Strip, if set, makes each module smaller before it is packed. It must give the
	// same for what it has given itself.
	Strip func(module []byte) ([]byte, error)
	// Whole says that the modules are all of kernel/: others there are removed.
	Whole bool
	// LeaveBad leaves a module where it is that cannot be read, instead of giving up.
	LeaveBad bool

	// MaxModuleSize limits one unpacked module in bytes, see [modinfo.Reader.MaxSize].
	MaxModuleSize int64
	// Workers is how many modules are staged at once; 0: one for each core.
	Workers int
	// Progress, if set, is called now and then, from several goroutines, with the
	// number of modules done.
	Progress func(done, total int)
}

// A Report tells what has been done. Files are named as below the module directory.
type Report struct {
	Files   []string // of the modules, in their order; "" for one that was left
	Written []string // those of them that were not right already
	Removed []string // files of the same modules in other packings, and with Whole of others
}

// Changed tells whether anything has been done.
func (r *Report) Changed() bool { return len(r.Written)+len(r.Removed) > 0 }

// Stage brings modules into the module directory. Each file is complete when it
// appears, and has mode 0644; one that holds the same module already, packed so that the
// kernel can unpack it, is left alone. Files that are superseded go last. When there is
// an error they all are still there, and files that are new are taken away again.
func (t *Target) Stage(ctx context.Context, modules []Module, o Options) (*Report, error) {
	results := make([]result, len(modules))
	err := o.each(ctx, len(modules), func() func(int) error {
		w := worker{t: t, o: &o}
		w.source.MaxSize, w.there.MaxSize = o.MaxModuleSize, o.MaxModuleSize
		return func(i int) (err error) {
			results[i], err = w.stage(&modules[i])
			return err
		}
	})
	report := new(Report)
	for _, r := range results {
		if err != nil && r.created {
			err = errors.Join(err, os.Remove(t.host(r.real)))
		}
		report.Files = append(report.Files, r.file)
		if r.written {
			report.Written = append(report.Written, r.file)
		}
	}
	if err != nil {
		return nil, err
	}
	report.Removed, err = t.clear(results, o.Whole)
	return report, err
}

// A result is what became of one module.
type result struct {
	file    string // below the module directory
	real    string // in the root
	written bool
	created bool // there was no such file
}

// A worker stages one module after the other.
type worker struct {
	t             *Target
	o             *Options
	source, there modinfo.Unpacker
	packer        modinfo.Packer
}

func (w *worker) stage(m *Module) (result, error) {
	raw, module, packing, err := w.load(m)
	if err != nil {
		if w.o.LeaveBad {
			return result{}, nil
		}
		return result{}, fmt.Errorf("%s: %w", m.File, err)
	}
	want := packing
	if w.o.Packing != nil {
		want = *w.o.Packing
	}
	r := result{file: m.Path + want.Suffix()}
	if r.real, err = w.t.place(r.file); err != nil {
		return result{}, err
	}
	if w.isThere(r.real, want, module) {
		return r, nil
	}
	data := raw // unless it must be packed anew
	if w.o.Strip != nil || packing != want || !forKernel(packing, raw) {
		if data, err = w.packer.Pack(want, module); err != nil {
			return result{}, fmt.Errorf("%s: %w", m.File, err)
		}
	}
	_, err = w.t.fsys.Lstat(r.real)
	created := errors.Is(err, fs.ErrNotExist)
	if err := w.t.write(r.real, data); err != nil {
		return result{}, err
	}
	r.written, r.created = true, created
	return r, nil
}

// load gives a module's file, and the module as it is to be.
func (w *worker) load(m *Module) (raw, module []byte, packing modinfo.Compression, err error) {
	if raw, err = m.content(w.o.MaxModuleSize); err != nil {
		return nil, nil, 0, err
	}
	if module, packing, err = w.source.Unpack(bytes.NewReader(raw), int64(len(raw))); err != nil {
		return nil, nil, 0, err
	}
	if !bytes.HasPrefix(module, []byte("\x7fELF")) {
		return nil, nil, 0, modinfo.ErrNotELF
	}
	if w.o.Strip != nil {
		module, err = w.o.Strip(module)
	}
	return raw, module, packing, err
}

// isThere tells whether a file holds the module already, packed as wanted.
func (w *worker) isThere(real string, want modinfo.Compression, module []byte) bool {
	raw, err := w.t.read(real)
	if err != nil {
		return false
	}
	there, packing, err := w.there.Unpack(bytes.NewReader(raw), int64(len(raw)))
	return err == nil && packing == want && forKernel(packing, raw) && bytes.Equal(there, module)
}

// clear removes what has been superseded.
func (t *Target) clear(results []result, whole bool) (removed []string, err error) {
	staged := make(map[string]string) // module key in the root → file there
	dirs := make(map[string]string)   // directory in the root → below the module directory
	for _, r := range results {
		if r.file != "" {
			staged[moduleKey(r.real)] = r.real
			dirs[path.Dir(r.real)] = path.Dir(r.file)
		}
	}
	gone := make(map[string]string) // file in the root → below the module directory
	for dir, rel := range dirs {
		entries, err := fs.ReadDir(t.fsys, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			real := path.Join(dir, e.Name())
			if by := staged[moduleKey(real)]; by != "" && by != real && depmod.ModuleSuffix(real) != "" && !e.IsDir() {
				gone[real] = path.Join(rel, e.Name())
			}
		}
	}
	if whole {
		if err := t.strangers(staged, gone); err != nil {
			return nil, err
		}
	}
	for real, rel := range gone {
		if err := os.Remove(t.host(real)); err != nil {
			return nil, err
		}
		t.tidy(path.Dir(real))
		removed = append(removed, rel)
	}
	slices.Sort(removed)
	return removed, nil
}

// strangers adds the module files below kernel/ that are not staged.
func (t *Target) strangers(staged, gone map[string]string) error {
	top, err := t.place("kernel")
	if err != nil {
		return err
	}
	if info, err := t.fsys.Lstat(top); err != nil || !info.IsDir() {
		return nil
	}
	return walkModules(t.fsys, top, func(rel string, _ fs.FileMode) error {
		if real := path.Join(top, rel); staged[moduleKey(real)] != real {
			gone[real] = path.Join("kernel", rel)
		}
		return nil
	})
}

// tidy removes directories below the module directory that have become empty.
func (t *Target) tidy(dir string) {
	for strings.HasPrefix(dir, t.dir+"/") && os.Remove(t.host(dir)) == nil {
		dir = path.Dir(dir)
	}
}

// forKernel tells whether the kernel can unpack a packed module itself. Of xz it knows no
// checksum but CRC32 (lib/xz/xz_dec_stream.c); which one it is stands in the second byte
// behind the magic.
func forKernel(packing modinfo.Compression, packed []byte) bool {
	const flags = 7
	return packing != modinfo.XZ || len(packed) > flags && packed[flags] <= 1
}
