package depmod

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/internal/rootfs"
)

// moduleSuffixes are the endings of module files.
var moduleSuffixes = []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"}

// ModuleSuffix returns the ending of a module file's name, "" for other names.
func ModuleSuffix(name string) string {
	for _, s := range moduleSuffixes {
		if len(name) > len(s) && strings.HasSuffix(name, s) {
			return s
		}
	}
	return ""
}

// ModuleName gives the name of the module in a file: its base name up to the
// first dot, with underscores for dashes.
func ModuleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// A found file is a module file met by the walk.
type found struct {
	fsys fs.FS
	path string // as walked, below the module directory; absolute if outside
	real string // where it is in fsys, free of links

	entry fs.DirEntry // as it was listed; nil for a link
	size  int64       // of the file, if the listing told it; only a guide
}

// stat describes the file. Where the listing has done so already, as on file systems
// that do not say there which entries are directories, it is not asked again.
func (f *found) stat() (fs.FileInfo, error) {
	if f.entry != nil {
		if info, err := f.entry.Info(); err == nil {
			return info, nil
		}
	}
	return fs.Lstat(f.fsys, f.real)
}

// walker collects the module files below a directory.
type walker struct {
	fsys     fs.FS
	config   *Config
	files    []found
	problems []Problem
}

// walk lists the modules below dir, a name free of links, as below rel.
// Directories come in sorted order, so that the outcome does not depend on the
// file system. Links are followed; "build", "source" and what the configuration
// excludes are passed over at every depth.
func (w *walker) walk(dir, rel string) error {
	d, entries, err := w.list(dir, nil)
	if err != nil {
		return err
	}
	w.entries(entries, rel, d)
	return nil
}

// A directory is one on the way down.
type directory struct {
	real string
	open *rootfs.Dir // nil if the file system has no such
	up   *directory
}

// list opens a directory that was met in another, or none, and reads it.
func (w *walker) list(real string, up *directory) (*directory, []fs.DirEntry, error) {
	d := &directory{real: real, up: up}
	root, ok := w.fsys.(*rootfs.FS)
	if !ok {
		entries, err := fs.ReadDir(w.fsys, real)
		return d, entries, err
	}
	var err error
	if name, isChild := d.child(); isChild {
		d.open, err = up.open.OpenDir(name)
	} else {
		d.open, err = root.OpenDir(real)
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := d.open.ReadDir()
	if err != nil {
		d.close()
	}
	return d, entries, err
}

// child is the directory's name in the one above, unless a link led elsewhere.
func (d *directory) child() (string, bool) {
	if d.up == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(d.real, d.up.real)
	name, slash := strings.CutPrefix(name, "/")
	return name, ok && slash && !strings.Contains(name, "/")
}

func (d *directory) close() {
	if d.open != nil {
		_ = d.open.Close() // only read from
	}
}

// below tells whether the directory is one of those on the way to d, or d.
func (d *directory) below(real string) bool {
	for ; d != nil; d = d.up {
		if d.real == real {
			return true
		}
	}
	return false
}

// externals lists the modules of directories elsewhere, the last configured
// first.
func (w *walker) externals(host fs.FS, dirs []string) {
	w.fsys = host
	for _, dir := range slices.Backward(dirs) {
		real, err := chroot.Resolve(host, dir)
		if err == nil {
			err = w.walk(real, dir)
		}
		if err != nil {
			w.problems = append(w.problems, failure(RuleDirectory, dir, err))
		}
	}
}

// entries goes through what is in a directory, and closes it.
func (w *walker) entries(entries []fs.DirEntry, rel string, d *directory) {
	defer d.close()
	for _, e := range entries {
		if name := e.Name(); !w.config.excluded(name) {
			rel, real := inside(rel, d.real, name)
			w.entry(e, rel, real, d)
		}
	}
}

// inside gives the names of what is in a directory. Unless a link led there, the
// shorter is the end of the longer, and shares its bytes.
func inside(rel, dir, name string) (string, string) {
	real := name
	if dir != "." {
		real = dir + "/" + name
	}
	switch {
	case rel == "":
		return real[len(real)-len(name):], real
	case dir != "." && strings.HasSuffix(dir, rel):
		return real[len(dir)-len(rel):], real
	}
	return rel + "/" + name, real
}

func (w *walker) entry(e fs.DirEntry, rel, real string, in *directory) {
	typ := e.Type()
	if typ&fs.ModeSymlink != 0 {
		var err error
		e = nil
		if typ, real, err = w.follow(real); err != nil {
			w.dangling(rel, err)
			return
		}
	}
	switch {
	case typ.IsDir():
		w.directory(rel, real, in)
	case !typ.IsRegular():
		p := warning(RuleSpecial, rel, "", "is neither a file nor a directory, left out")
		p.mode = typ
		w.problems = append(w.problems, p)
	case ModuleSuffix(rel) != "":
		if w.files == nil {
			w.files = make([]found, 0, 4096) // a distribution's
		}
		w.files = append(w.files, found{w.fsys, rel, real, e, w.size(e)})
	}
}

// size is what the listing tells; where it does not, one more question for each file
// would not pay.
func (w *walker) size(e fs.DirEntry) int64 {
	if _, listed := w.fsys.(*rootfs.FS); !listed || e == nil {
		return 0
	}
	info, err := e.Info()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (w *walker) follow(link string) (fs.FileMode, string, error) {
	real, err := chroot.Resolve(w.fsys, link)
	if err != nil {
		return 0, "", err
	}
	info, err := fs.Lstat(w.fsys, real)
	if err != nil {
		return 0, "", err
	}
	return info.Mode().Type(), real, nil
}

func (w *walker) dangling(rel string, err error) {
	p := warning(RuleLink, rel, "", "the link leads nowhere inside the tree")
	if errors.Is(err, chroot.ErrLoop) {
		p = warning(RuleLink, rel, "", "the link leads in a circle")
	}
	if ModuleSuffix(rel) != "" {
		p.Severity = Error
		p.Hint = "put the module file in its place, or remove the link"
	}
	p.Err = err
	w.problems = append(w.problems, p)
}

func (w *walker) directory(rel, real string, in *directory) {
	if in.below(real) {
		w.problems = append(w.problems, warning(RuleLoop, rel, "", "the link leads to a directory above itself, left out"))
		return
	}
	d, entries, err := w.list(real, in)
	if err != nil {
		w.problems = append(w.problems, failure(RuleDirectory, rel, err))
		return
	}
	w.entries(entries, rel, d)
}
