package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/internal/atomicfile"
	"github.com/kstage/kstage/internal/depfile"
)

// inputs are the files and directories that a run has read, for --depfile. Where none
// is asked for it is nil, and keeps nothing.
//
// A directory is among them where its listing matters: the file that is added to it may
// be one to read. So is the one in which a file was looked for that is not there.
type inputs struct {
	mu    sync.Mutex
	names map[string]bool // as the user would name them
}

// depfileFlag adds --depfile; product is what the targets are.
func depfileFlag(flags *pflag.FlagSet, name *string, product string) {
	flags.StringVar(name, "depfile", "", "write into `FILE` from which files and directories "+product+" was made, for make and ninja, as compilers do for -MD -MP")
}

// errDepfile spares the user a file called "-".
var errDepfile = errors.New("--depfile wants a file's name: make and ninja read no standard output")

// newInputs begins to keep what is read if there is a file to write it to.
func newInputs(depfile string) *inputs {
	if depfile == "" {
		return nil
	}
	return &inputs{names: make(map[string]bool)}
}

// add keeps files that options name; empty names are none.
func (in *inputs) add(names ...string) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range names {
		if name != "" {
			in.names[filepath.ToSlash(name)] = true
		}
	}
}

// addTree keeps what of a directory has come into a tree. Links need no place: another
// link in its stead changes the directory.
func (in *inputs) addTree(dir string, tree *initrd.Tree) {
	if in == nil {
		return
	}
	in.add(dir)
	for e := range tree.All() {
		if e.Mode.IsDir() || e.Mode.IsRegular() {
			in.add(within(dir, e.Path))
		}
	}
}

// within names what lies in a directory, which is called as the user has called it.
func within(dir, name string) string {
	switch {
	case name == ".":
		return dir
	case strings.HasSuffix(dir, "/"):
		return dir + name
	}
	return dir + "/" + name
}

// watch gives a file system that keeps what is read of it; dir is what it shows.
func (in *inputs) watch(dir string, fsys fs.FS) fs.FS {
	if in == nil {
		return fsys
	}
	return &watchedFS{in, dir, fsys}
}

// rename calls what lies in a directory, or the directory, by another name.
func (in *inputs) rename(from, to string) {
	if in == nil {
		return
	}
	for name := range maps.Clone(in.names) {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == '/') {
			delete(in.names, name)
			in.names[to+rest] = true
		}
	}
}

// write writes the file for make and ninja.
func (in *inputs) write(file string, targets ...string) error {
	if in == nil {
		return nil
	}
	for i, name := range targets {
		targets[i] = filepath.ToSlash(name)
	}
	err := atomicfile.Write(file, 0, func(f *os.File) error {
		return depfile.Write(f, targets, slices.Collect(maps.Keys(in.names)))
	})
	var name *depfile.NameError
	if errors.As(err, &name) {
		err = withHint(err, "rename it, or leave out --depfile; pack can leave a file out with --exclude")
	}
	if err != nil {
		return fmt.Errorf("--depfile: %w", err)
	}
	return nil
}

// watch begins to keep what is read, if --depfile is to tell it.
func (p *packer) watch() error {
	switch {
	case p.depfile == "":
		return nil
	case p.depfile == "-":
		return errDepfile
	case p.output == "-":
		return withHint(errors.New("--depfile tells what a file was made from, and -o - makes none"), "name the image's file with -o")
	case p.dryRun:
		return errors.New("--depfile tells what a file was made from, and --dry-run makes none")
	}
	p.inputs = newInputs(p.depfile)
	p.sources.inputs, p.index.inputs = p.inputs, p.inputs
	p.inputs.add(p.otherFiles()...)
	return nil
}

// otherFiles are those that options name besides the sources.
func (p *packer) otherFiles() []string {
	return append([]string{p.compress.configPath, p.kernelImage, p.format.kernel, p.format.dtb}, p.choice.files()...)
}

// A watchedFS keeps what is read of a file system.
type watchedFS struct {
	inputs *inputs
	dir    string
	fs.FS
}

// Open opens a file or directory.
func (w *watchedFS) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	w.asked(name, err)
	return f, err
}

// ReadDir lists a directory.
func (w *watchedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	w.asked(name, err)
	return entries, err
}

// Lstat describes what is there; that is not yet to read it.
func (w *watchedFS) Lstat(name string) (fs.FileInfo, error) {
	info, err := fs.Lstat(w.FS, name)
	if err != nil {
		w.asked(name, err)
	}
	return info, err
}

// ReadLink tells where a link leads.
func (w *watchedFS) ReadLink(name string) (string, error) { return fs.ReadLink(w.FS, name) }

// asked keeps a name, or the directory that would have what is not there.
func (w *watchedFS) asked(name string, err error) {
	for ; err != nil && name != "."; name = path.Dir(name) {
		info, statErr := fs.Lstat(w.FS, name)
		if statErr == nil && info.IsDir() {
			break
		}
	}
	w.inputs.add(within(w.dir, name))
}
