package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/kstage/kstage/modinfo"
)

// modinfoDropIn is the program under the name modinfo: kmod's options, messages
// and exit codes. docs/kmod-differences.md lists where it departs from kmod.
type modinfoDropIn struct {
	infoOptions
	stdout *bufio.Writer
	stderr io.Writer
	reader modinfo.Reader
	failed bool
}

var modinfoOptions = []option{
	{'a', "author", false}, {'d', "description", false}, {'l', "license", false}, {'p', "parameters", false},
	{'n', "filename", false}, {'0', "null", false}, {'m', "modname", false}, {'F', "field", true},
	{'k', "set-version", true}, {'b', "basedir", true}, {'V', "version", false}, {'h', "help", false},
}

// shortFields are the fields that have an option of their own.
var shortFields = map[byte]string{'a': "author", 'd': "description", 'l': "license", 'p': "parm", 'n': "filename"}

// modinfoMain is the drop-in's main function.
func modinfoMain(argv0 string, args []string, stdout, stderr io.Writer) int {
	d := &modinfoDropIn{stdout: bufio.NewWriter(stdout), stderr: stderr}
	d.reader = modinfo.Reader{WithoutSymbols: true, WithSignature: true}
	d.version = runningKernel()
	options, operands, err := getopt(argv0, modinfoOptions, args)
	if text := d.set(options); text != "" {
		d.stdout.WriteString(text)
		return d.end()
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, err)
		return exitFailed
	case len(operands) == 0:
		d.complain("missing module or filename.")
		return exitFailed
	}
	dir, err := d.moduleDir()
	if err != nil {
		d.complain("%v", err)
		return exitFailed
	}
	for _, operand := range operands {
		d.operand(dir, operand)
	}
	return d.end()
}

// end writes out what is left and gives the exit code.
func (d *modinfoDropIn) end() int {
	if err := d.stdout.Flush(); err != nil {
		d.complain("could not write: %v", err)
	}
	if d.failed {
		return exitFailed
	}
	return exitOK
}

// complain prints a message of kmod's form and remembers it for the exit code.
func (d *modinfoDropIn) complain(format string, args ...any) {
	d.failed = true
	fmt.Fprintf(d.stderr, "modinfo: ERROR: "+format+"\n", args...)
}

// set takes the options; a text is all that is to be printed then.
func (d *modinfoDropIn) set(options []given) (text string) {
	for _, o := range options {
		switch o.short {
		case '0':
			d.null = true
		case 'm':
			d.byName = true
		case 'F':
			d.filtered, d.field = true, o.value
		case 'k':
			d.version = o.value
		case 'b':
			d.base = o.value
		case 'V':
			return "kmod version 34\n+ZSTD +XZ +ZLIB +OPENSSL\nkstage " + version() + "\n"
		case 'h':
			return modinfoHelp
		default:
			d.filtered, d.field = true, shortFields[o.short]
		}
	}
	return ""
}

// moduleDir is BASE/lib/modules/VERSION, or usr/lib/modules where only that has
// the version: kmod knows but one of them, fixed when it was built.
func (o *infoOptions) moduleDir() (*moduleDir, error) {
	base, err := absolute(o.base)
	if err != nil {
		return nil, err
	}
	for _, top := range []string{"/lib/modules/", "/usr/lib/modules/"} {
		if _, err := os.Stat(base + top + o.version); err == nil {
			return newModuleDir(base + top + o.version), nil
		}
	}
	return newModuleDir(base + "/lib/modules/" + o.version), nil
}

// operand prints the modules that an operand stands for.
func (d *modinfoDropIn) operand(dir *moduleDir, operand string) {
	if !d.byName && moduleFile(operand) {
		m, err := fileModule(operand)
		if err != nil {
			d.complain("%v", err)
			return
		}
		d.print(m)
		return
	}
	kind, modules := "Module", []found(nil)
	if d.byName {
		kind, modules = "Module name", dir.lookupName(operand)
	} else {
		var err error
		if modules, err = dir.lookup(operand); err != nil {
			kind = "Module alias"
		}
	}
	if len(modules) == 0 {
		d.complain("%s %s not found.", kind, operand)
	}
	for _, m := range modules {
		d.print(m)
	}
}

func (d *modinfoDropIn) print(m found) {
	s := d.show(&d.reader, m)
	d.stdout.Write(s.text)
	for _, f := range s.invalid {
		// kmod does not count this as a failure
		fmt.Fprintf(d.stderr, "modinfo: ERROR: Found invalid \"%s=%s\": missing ':'\n", f.Key, f.Value)
	}
	if s.err != nil {
		d.complain("could not get modinfo from '%s': %s", m.name, d.reason(m, s.err))
	}
}

// reason words an error as kmod does, which has no more than a system's error
// number; what its library has to say of it comes on a line before.
func (d *modinfoDropIn) reason(m found, err error) string {
	var system *fs.PathError
	switch {
	case errors.Is(err, errNoInfo):
		return "No data available"
	case errors.Is(err, modinfo.ErrNotELF):
		return "Exec format error"
	case errors.Is(err, modinfo.ErrTooLarge):
		return "File too large"
	case errors.Is(err, modinfo.ErrMalformed), errors.Is(err, modinfo.ErrTooShort):
		return "Invalid argument"
	}
	isSystem := errors.As(err, &system)
	if m.path == "" || !isSystem {
		fmt.Fprintf(d.stderr, "libkmod: ERROR: %v\n", err)
	}
	if isSystem {
		return systemText(err)
	}
	return "Invalid argument"
}

const modinfoHelp = `Usage:
	modinfo [options] MODULE|FILE...

Shows what modules say about themselves. A MODULE is a name or an alias, looked
up for the running kernel.

Options:
	-a, --author               only the field author
	-d, --description          only the field description
	-l, --license              only the field license
	-p, --parameters           only the parameters
	-n, --filename             only the file's path
	-F, --field FIELD          only that field
	-0, --null                 end each item with NUL instead of newline
	-m, --modname              take MODULE for a name, not for a file or an alias
	-k, --set-version VERSION  look up for that kernel
	-b, --basedir DIR          root of the tree that holds the modules
	-V, --version              print the version
	-h, --help                 print this
`
