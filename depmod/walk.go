package depmod

import (
	"errors"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

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

// A listing is what a walk has found, in the order of the names.
type listing struct {
	files    []found
	problems []Problem
}

// A mark is a place in a listing.
type mark struct{ files, problems int }

func (l *listing) end() mark { return mark{len(l.files), len(l.problems)} }

// add takes over what another listing has between two marks.
func (l *listing) add(other *listing, from, to mark) {
	l.files = append(l.files, other.files[from.files:to.files]...)
	l.problems = append(l.problems, other.problems[from.problems:to.problems]...)
}

// A part of a walk is a directory that another goroutine may go through. What it finds
// belongs at a mark of the listing of the one that has met it.
type part struct {
	at        mark
	rel       string
	directory *directory
	by        *walker // who went through it, and what that one found there
	from, to  mark
}

// mostParts bounds the directories that are open at once; partDepth is how far below the
// top they lie: at kernel/drivers/net.
const (
	mostParts = 400
	partDepth = 3
)

// A walker lists the module files below a directory. Directories come in sorted order, so
// that the outcome does not depend on the file system. Links are followed; "build",
// "source" and what the configuration excludes are passed over at every depth.
type walker struct {
	listing
	fsys   fs.FS
	config *Config
	parts  []*part    // what it has left to others
	queue  chan *part // where these get it from; nil if there are no others
}

func (c *Config) walker(fsys fs.FS, queue chan *part) *walker {
	const many = 4096 // a distribution's; memory that is not used costs nothing
	return &walker{fsys: fsys, config: c, queue: queue, listing: listing{files: make([]found, 0, many)}}
}

// walk lists the modules below dir, a name free of links, as below rel, on all cores.
func (c *Config) walk(fsys fs.FS, dir, rel string) (listing, error) {
	w := c.walker(fsys, make(chan *part, mostParts))
	d, err := w.open(dir, nil)
	if err != nil {
		return listing{}, err
	}
	var others sync.WaitGroup
	for range runtime.GOMAXPROCS(0) - 1 {
		others.Go(w.helper)
	}
	err = w.read(rel, d)
	close(w.queue)
	w.helper()
	others.Wait()
	return w.together(), err
}

// helper goes through parts until there are no more.
func (w *walker) helper() {
	var alone *walker
	for p := range w.queue {
		if alone == nil {
			alone = w.config.walker(w.fsys, nil)
		}
		p.by, p.from = alone, alone.end()
		alone.take(p.rel, p.directory)
		p.to = alone.end()
	}
}

// together puts the parts where they belong.
func (w *walker) together() listing {
	if len(w.parts) == 0 {
		return w.listing
	}
	all := listing{files: make([]found, 0, cap(w.files))}
	var last mark
	for _, p := range w.parts {
		all.add(&w.listing, last, p.at)
		all.add(&p.by.listing, p.from, p.to)
		last = p.at
	}
	all.add(&w.listing, last, w.end())
	return all
}

// A directory is one on the way down.
type directory struct {
	real  string
	open  *rootfs.Dir // nil if the file system has no such
	up    *directory
	depth int
}

// open opens a directory that was met in another, or none.
func (w *walker) open(real string, up *directory) (*directory, error) {
	d := &directory{real: real, up: up}
	if up != nil {
		d.depth = up.depth + 1
	}
	root, ok := w.fsys.(*rootfs.FS)
	if !ok {
		return d, nil
	}
	var err error
	if name, isChild := d.child(); isChild {
		d.open, err = up.open.OpenDir(name)
	} else {
		d.open, err = root.OpenDir(real)
	}
	return d, err
}

// read goes through what is in a directory, and closes it.
func (w *walker) read(rel string, d *directory) error {
	defer d.close()
	var entries []fs.DirEntry
	var err error
	if d.open != nil {
		entries, err = d.open.ReadDir()
	} else {
		entries, err = fs.ReadDir(w.fsys, d.real)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); !w.config.excluded(name) {
			rel, real := inside(rel, d.real, name)
			w.entry(e, rel, real, d)
		}
	}
	return nil
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
func (c *Config) externals(host fs.FS) listing {
	var all listing
	for _, dir := range slices.Backward(c.Externals) {
		var here listing
		real, err := chroot.Resolve(host, dir)
		if err == nil {
			here, err = c.walk(host, real, dir)
		}
		if err != nil {
			here.problems = append(here.problems, failure(RuleDirectory, dir, err))
		}
		all.files = append(all.files, here.files...)
		all.problems = append(all.problems, here.problems...)
	}
	return all
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

func (w *walker) directory(rel, real string, in *directory) {
	if in.below(real) {
		w.problems = append(w.problems, warning(RuleLoop, rel, "", "the link leads to a directory above itself, left out"))
		return
	}
	d, err := w.open(real, in)
	switch {
	case err != nil:
		w.problems = append(w.problems, failure(RuleDirectory, rel, err))
	case w.queue != nil && d.depth == partDepth && len(w.parts) < mostParts:
		p := &part{at: w.end(), rel: rel, directory: d}
		w.parts = append(w.parts, p)
		w.queue <- p
	default:
		w.take(rel, d)
	}
}

// take goes through a directory, or says why it cannot.
func (w *walker) take(rel string, d *directory) {
	if err := w.read(rel, d); err != nil {
		w.problems = append(w.problems, failure(RuleDirectory, rel, err))
	}
}
