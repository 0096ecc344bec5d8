package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/kstage/kstage/initrd"
)

// sourceSet reads the sources of an image.
type sourceSet struct {
	*ui
	sourceFlags

	layers     []layer
	problems   []initrd.Problem
	buildLinks []string
	spool      spoolFile
	opened     []io.Closer
	inputs     *inputs
}

// A layer is one source, read.
type layer struct {
	name string
	at   string // where it lies in the image
	tree *initrd.Tree
}

// close ends the use of the sources, once the image is written.
func (s *sourceSet) close() {
	for _, c := range s.opened {
		_ = c.Close() // only read from
	}
	s.spool.close()
}

// read reads all sources into one tree.
func (s *sourceSet) read(ctx context.Context) (*initrd.Tree, error) {
	for _, name := range s.names {
		if err := s.operand(ctx, name); err != nil {
			return nil, err
		}
	}
	for _, a := range s.adds {
		if err := s.addition(a); err != nil {
			return nil, err
		}
	}
	if s.nodes.Len() > 0 {
		s.layers = append(s.layers, layer{"--node", ".", &s.nodes})
	}
	s.notes()
	return s.merge()
}

// operand reads a directory, a tar or an image.
func (s *sourceSet) operand(ctx context.Context, name string) error {
	if name == "-" {
		return s.archive(ctx, name)
	}
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(fmt.Errorf("%s: there is no such file or directory", name), "name the directory that holds init, bin and lib/modules, or a tar or image of it")
	case err != nil:
		return err
	case !info.IsDir():
		return s.archive(ctx, name)
	}
	return s.directory(name, name, ".")
}

// directory reads a directory of the host; errors call it name.
func (s *sourceSet) directory(name, dir, at string) error {
	root, err := s.open(dir)
	if err != nil {
		return err
	}
	l := s.layer(name, at)
	problems, err := l.tree.AddFS(root)
	s.inputs.addTree(dir, l.tree)
	return s.outcome(l, problems, err)
}

// open opens a directory until the image is written.
func (s *sourceSet) open(dir string) (fs.FS, error) {
	root, err := openRoot(dir)
	if err == nil {
		s.opened = append(s.opened, root)
	}
	return root, err
}

// layer begins a further source.
func (s *sourceSet) layer(name, at string) layer {
	tree := &initrd.Tree{
		HostOwners: s.owner.keep,
		Filter:     func(e *initrd.Entry) bool { return s.takes(e, at) },
	}
	s.layers = append(s.layers, layer{name, at, tree})
	return s.layers[len(s.layers)-1]
}

// outcome keeps the problems, and names the source in the error.
func (s *sourceSet) outcome(l layer, problems []initrd.Problem, err error) error {
	for _, p := range problems {
		p.Path = path.Join(l.at, p.Path)
		s.problems = append(s.problems, p)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		err = withHint(err, "make it readable for the user who runs kstage, or leave it out with --exclude")
	}
	return fmt.Errorf("%s: %w", l.name, err)
}

// archive reads a tar or an image from a file, or from standard input.
func (s *sourceSet) archive(ctx context.Context, name string) error {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return withHint(err, "make it readable for the user who runs kstage")
		}
		defer f.Close()
		s.inputs.add(name)
	} else if term.IsTerminal(int(f.Fd())) {
		return withHint(errors.New("standard input is a terminal, not a tar or an image"), "docker export CONTAINER | kstage pack - -o FILE")
	}
	r := interruptible(ctx, f)
	defer r.Close()
	l := s.layer(cmp.Or(strings.TrimPrefix(name, "-"), "standard input"), ".")
	problems, err := l.tree.AddArchive(r, &s.spool)
	return s.outcome(l, problems, err)
}

// interruptible reads r until ctx ends, even where reading r would wait on.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pr.CloseWithError(ctx.Err()) })
	return pr
}

// addition reads what --add names: a link is followed, as the user named it.
func (s *sourceSet) addition(a addition) error {
	name := "--add " + a.text
	real, err := filepath.EvalSymlinks(a.from)
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(real)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(fmt.Errorf("%s: there is no %s", name, a.from), addForm)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case info.IsDir():
		return s.directory(name, a.from, a.to)
	case a.to == ".":
		return withHint(fmt.Errorf("%s: %s is no directory, so it cannot lie over the root", name, a.from), "a DST that ends in / is the directory to put it into: "+a.from+":/")
	}
	root, err := s.open(filepath.Dir(real))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.inputs.add(a.from)
	l := s.layer(name, ".")
	problems, err := l.tree.AddFile(a.to, root, filepath.Base(real))
	return s.outcome(l, problems, err)
}

// takes decides on an entry of a source that lies at a place in the image.
func (s *sourceSet) takes(e *initrd.Entry, at string) bool {
	p := path.Join(at, e.Path)
	if s.excluded(p) {
		return false
	}
	if e.Mode.Type() == fs.ModeSymlink && buildLink().MatchString(p) {
		s.buildLinks = append(s.buildLinks, p)
		return false
	}
	s.chmod(e, p)
	if s.owner.all {
		e.UID, e.GID = s.owner.uid, s.owner.gid
	}
	return true
}

// problem keeps a finding that is not about what was left out, and tells it.
func (s *sourceSet) problem(p initrd.Problem) {
	s.problems = append(s.problems, p)
	if !s.json {
		s.line("warning", "%s: %s", p.Path, p.Text)
	}
}

// notes tells what was left out.
func (s *sourceSet) notes() {
	for _, p := range s.buildLinks {
		s.problems = append(s.problems, initrd.Problem{Rule: "build-link", Path: p, Text: "leads to where the kernel was built, left out"})
	}
	if s.json {
		return
	}
	alike := make(map[string]int)
	for _, p := range s.problems {
		if alike[p.Rule]++; p.Rule != "build-link" && alike[p.Rule] <= maxAlike {
			s.line("note", "%s: %s", p.Path, p.Text)
		}
	}
	for _, p := range s.problems {
		if n := alike[p.Rule]; p.Rule != "build-link" && n > maxAlike {
			s.line("note", "%d more findings like these (%s); --json lists all", n-maxAlike, p.Rule)
			alike[p.Rule] = 0
		}
	}
	if len(s.buildLinks) > 0 {
		s.line("note", "left out: %s (links to where the kernel was built)", strings.Join(s.buildLinks, ", "))
	}
	for _, x := range s.excludes {
		if !x.used {
			s.line("note", "--exclude %s matches nothing", x.text)
		}
	}
	for _, c := range s.chmods {
		if !c.used {
			s.line("note", "--chmod %s matches no file", c.text)
		}
	}
}

// merge lays the later sources over the earlier ones.
func (s *sourceSet) merge() (*initrd.Tree, error) {
	if len(s.layers) == 1 {
		return s.layers[0].tree, nil
	}
	all := new(initrd.Tree)
	for i, l := range s.layers {
		err := all.AddTree(l.at, l.tree)
		var replace *initrd.ReplaceError
		if errors.As(err, &replace) {
			return nil, withHint(fmt.Errorf("%s: %w%s", l.name, err, s.whose(replace.Path, i)), "change one of the two, or leave it out with --exclude")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return all, nil
}

// whose names the source before the n-th that has the entry at p.
func (s *sourceSet) whose(p string, n int) string {
	for i := n - 1; i >= 0; i-- {
		l := s.layers[i]
		for e := range l.tree.All() {
			if path.Join(l.at, e.Path) == p {
				return ", which is from " + l.name
			}
		}
	}
	return ""
}

// spares refuses to write the image over a source or into one, or over one of the
// others: they are promised to stay as they are.
func (s *sourceSet) spares(image string, others ...string) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(image))
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s: there is no directory %s", image, filepath.Dir(image)), "make it first: mkdir -p "+filepath.Dir(image))
	}
	if err != nil {
		return err
	}
	there, _ := os.Stat(image)
	sources := slices.Clone(s.names)
	for _, a := range s.adds {
		sources = append(sources, a.from)
	}
	for _, source := range append(sources, others...) {
		info, err := os.Stat(source)
		if err != nil || source == "-" {
			continue // reading it tells it better
		}
		const hint = "name another place for it"
		if there != nil && os.SameFile(info, there) {
			return withHint(fmt.Errorf("%s is also %s, which is never changed", image, source), hint)
		}
		if inside, err := liesInside(dir, source); err != nil || inside && info.IsDir() {
			return cmp.Or(err, withHint(fmt.Errorf("%s lies inside %s, which is never changed", image, source), hint))
		}
	}
	if there != nil && there.IsDir() {
		return withHint(fmt.Errorf("%s: is a directory", image), "-o names the image's file: -o "+filepath.Join(image, "initrd.img"))
	}
	return nil
}

// liesInside tells whether a directory free of links is that of root or below.
func liesInside(dir, root string) (bool, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return false, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	rel, err := filepath.Rel(root, dir)
	return err == nil && filepath.IsLocal(rel), nil
}
