package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/atomicfile"
)

// output prints or writes the files.
func (d *depmodDropIn) output(tree *depmod.Tree) error {
	d.problems(tree.Problems)
	d.needs(tree)
	files, problems := tree.Files()
	if d.show {
		// no .bin is made, so nothing is found out about them
		d.problems(slices.DeleteFunc(problems, func(p depmod.Problem) bool { return p.Rule != depmod.RuleDevname }))
		return printText(d.stdout, files)
	}
	if d.warn {
		d.problems(tree.Repeated())
	}
	d.problems(problems)
	if err := os.MkdirAll(d.outDir, 0o755); err != nil {
		return d.fatal("could not create directory %s: %s", d.outDir, systemText(err))
	}
	write := func(f depmod.File) error {
		return atomicfile.Write(filepath.Join(d.outDir, f.Name), 0o644, func(out *os.File) error { return f.Write(out) })
	}
	for i, err := range eachFile(files, write) {
		if err != nil {
			d.say("ERROR", "could not write %s/%s: %s", d.outDir, files[i].Name, systemText(err))
		}
	}
	return nil
}

// needs prints who needs whom for which symbol, with -v.
func (d *depmodDropIn) needs(tree *depmod.Tree) {
	if d.verbose > 0 {
		printNeeds(d.stdout, tree, d.shownDir)
	}
}

// printNeeds is depmod -v; dir is the module directory as it is to be shown.
func printNeeds(w io.Writer, tree *depmod.Tree, dir string) {
	full := func(m *depmod.Module) string {
		if path.IsAbs(m.Path) {
			return m.Path
		}
		return dir + "/" + m.Path
	}
	for _, m := range tree.Modules {
		for from, symbol := range m.Direct {
			fmt.Fprintf(w, "%s needs \"%s\": %s\n", full(m), symbol, full(from))
		}
	}
}

// printText is depmod -n: the text files, one after the other.
func printText(w io.Writer, files []depmod.File) error {
	for _, f := range files {
		if f.Made == "" && path.Ext(f.Name) != ".bin" {
			if err := f.Write(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// systemText is what strerror says, without the path that the message names.
func systemText(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

const depmodHelp = `Usage:
	depmod [options] [VERSION]
	depmod [options] VERSION FILE...

With no FILE all modules of the kernel VERSION, or of the running one, are
indexed.

Options:
	-a, --all                  index all modules (the default without FILE)
	-A, --quick                do nothing if the index is up to date
	-b, --basedir DIR          root of the tree that holds the modules
	-m, --moduledir DIR        module directory below it (lib/modules)
	-o, --outdir DIR           root of the tree to write to
	-C, --config PATH          configuration file or directory
	-e, --errsyms              report unknown symbols, with -E or -F
	-E, --symvers FILE         the kernel's Module.symvers
	-F, --filesyms FILE        the kernel's System.map
	-n, --show, --dry-run      print the text files, write nothing
	-P, --symbol-prefix CHAR   character that symbols begin with
	-w, --warn                 report repeated entries
	-v, --verbose              print who needs whom
	    --compat RELEASE       write what kmod 30, 33 or 34 writes
	-V, --version              print the version
	-h, --help                 print this
`
