package depmod

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
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
	entries, err := fs.ReadDir(w.fsys, dir)
	if err != nil {
		return err
	}
	w.entries(entries, rel, dir, []string{dir})
	return nil
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

// above holds the real directories from the top to this one.
func (w *walker) entries(entries []fs.DirEntry, rel, real string, above []string) {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if name := e.Name(); !w.config.excluded(name) {
			w.entry(e, path.Join(rel, name), path.Join(real, name), above)
		}
	}
}

func (w *walker) entry(e fs.DirEntry, rel, real string, above []string) {
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
		w.directory(rel, real, above)
	case !typ.IsRegular():
		p := warning(RuleSpecial, rel, "", "is neither a file nor a directory, left out")
		p.mode = typ
		w.problems = append(w.problems, p)
	case ModuleSuffix(rel) != "":
		w.files = append(w.files, found{w.fsys, rel, real, e})
	}
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

func (w *walker) directory(rel, real string, above []string) {
	if slices.Contains(above, real) {
		w.problems = append(w.problems, warning(RuleLoop, rel, "", "the link leads to a directory above itself, left out"))
		return
	}
	entries, err := fs.ReadDir(w.fsys, real)
	if err != nil {
		w.problems = append(w.problems, failure(RuleDirectory, rel, err))
		return
	}
	w.entries(entries, rel, real, append(slices.Clip(above), real))
}
