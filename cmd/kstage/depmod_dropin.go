package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/lazyregexp"
	"github.com/kstage/kstage/internal/rootfs"
)

// depmodDropIn is the program under the name depmod: kmod's options, messages
// and exit codes. docs/kmod-differences.md lists where it departs from kmod.
type depmodDropIn struct {
	program        string // as messages name it
	stdout, stderr io.Writer

	base, moduleDir, out   string
	config                 []string
	symvers, systemMap     string
	prefix                 string
	all, quick, check      bool
	show, warn             bool
	verbose                int
	compat                 int
	version                string
	files                  []string
	kernel                 *depmod.KernelSymbols
	shownDir, outDir, root string
}

var depmodOptions = []option{
	{'a', "all", false}, {'A', "quick", false}, {'b', "basedir", true}, {'m', "moduledir", true}, {'o', "outdir", true},
	{'C', "config", true}, {'E', "symvers", true}, {'F', "filesyms", true}, {'e', "errsyms", false}, {'n', "show", false},
	{'n', "dry-run", false}, {'P', "symbol-prefix", true}, {'w', "warn", false}, {'v', "verbose", false},
	{'V', "version", false}, {'h', "help", false}, {0, "compat", true},
}

// errSaid ends the run with status 1; its reason has been printed.
var errSaid = errors.New("said")

// depmodMain is the drop-in's main function.
func depmodMain(argv0 string, args []string, stdout, stderr io.Writer) int {
	d := &depmodDropIn{program: "depmod", stdout: stdout, stderr: stderr}
	out := bufio.NewWriter(stdout)
	d.stdout = out
	err := d.run(argv0, args)
	if flushErr := out.Flush(); err == nil && flushErr != nil {
		d.say("ERROR", "could not write: %v", flushErr)
		err = errSaid
	}
	switch {
	case err == nil || errors.Is(err, errDone):
		return exitOK
	case !errors.Is(err, errSaid):
		d.say("ERROR", "%v", err)
	}
	return exitFailed
}

// errDone ends the run with status 0.
var errDone = errors.New("done")

// say prints a message of kmod's form.
func (d *depmodDropIn) say(level, format string, args ...any) {
	fmt.Fprintf(d.stderr, "%s: %s: %s\n", d.program, level, fmt.Sprintf(format, args...))
}

func (d *depmodDropIn) fatal(format string, args ...any) error {
	d.say("FATAL", format, args...)
	return errSaid
}

func (d *depmodDropIn) run(argv0 string, args []string) error {
	options, operands, err := getopt(argv0, depmodOptions, args)
	for _, o := range options {
		if err := d.set(o); err != nil {
			return err
		}
	}
	if err != nil {
		fmt.Fprintln(d.stderr, err)
		return errSaid
	}
	if err := d.operands(operands); err != nil {
		return err
	}
	if d.quick {
		if fresh := d.upToDate(); fresh {
			return nil
		}
	}
	if err := d.loadKernel(); err != nil {
		return err
	}
	return d.index()
}

// set takes one option.
func (d *depmodDropIn) set(o given) error {
	switch o.short {
	case 'a':
		d.all = true
	case 'A':
		d.quick, d.all = true, true
	case 'b':
		d.base = o.value
	case 'm':
		d.moduleDir = strings.TrimLeft(o.value, "/")
	case 'o':
		d.out = o.value
	case 'C':
		d.config = append(d.config, o.value)
	case 'E':
		d.symvers = o.value
	case 'F':
		d.systemMap = o.value
	case 'e':
		d.check = true
	case 'n':
		d.show = true
	case 'P':
		if len(o.value) != 1 {
			return d.fatal("-P only takes a single char")
		}
		d.prefix = o.value
	case 'w':
		d.warn = true
	case 'v':
		d.verbose++
	case 'V':
		fmt.Fprintf(d.stdout, "kmod version 34\n+ZSTD +XZ +ZLIB +OPENSSL\nkstage %s\n", version())
		return errDone
	case 'h':
		fmt.Fprint(d.stdout, depmodHelp)
		return errDone
	default:
		return d.setCompat(o.value)
	}
	return nil
}

func (d *depmodDropIn) setCompat(value string) error {
	levels := map[string]int{"30": 30, "33": 33, "34": 34}
	if d.compat = levels[value]; d.compat == 0 {
		return d.fatal("--compat takes 30, 33 or 34, not %s", value)
	}
	return nil
}

var startsLikeVersion = lazyregexp.New(`^[ \t]*[+-]?[0-9]+\.[ \t]*[+-]?[0-9]+`)

// operands settles the version and the directories.
func (d *depmodDropIn) operands(operands []string) error {
	if len(operands) > 0 {
		d.version = operands[0]
		if !startsLikeVersion().MatchString(d.version) {
			d.say("ERROR", "Bad version passed %s", d.version)
			return errSaid
		}
		d.files = operands[1:]
	} else if d.version = runningKernel(); d.version == "" {
		return d.fatal("name the kernel version: this system runs no Linux")
	}
	if d.all {
		d.files = nil
	}
	base, err := absolute(d.base)
	if err != nil {
		return err
	}
	if d.moduleDir == "" {
		d.moduleDir = d.findModuleDir(base)
	}
	d.root = base
	d.shownDir = base + "/" + d.moduleDir + "/" + d.version
	d.outDir = d.shownDir
	if d.out != "" {
		out, err := absolute(d.out)
		if err != nil {
			return err
		}
		d.outDir = out + "/" + d.moduleDir + "/" + d.version
	}
	if len(d.shownDir) > 4095 {
		d.say("ERROR", "Bad directory %s: path too long", d.shownDir)
		return errSaid
	}
	return nil
}

// absolute puts the working directory in front, and cleans nothing, as kmod does.
func absolute(dir string) (string, error) {
	if dir == "" || filepath.IsAbs(dir) {
		return dir, nil
	}
	wd, err := os.Getwd()
	return wd + "/" + dir, err
}

// findModuleDir is lib/modules, or usr/lib/modules where only that has the
// version: kmod knows but one of them, fixed when it was built.
func (d *depmodDropIn) findModuleDir(base string) string {
	const first, second = "lib/modules", "usr/lib/modules"
	if _, err := os.Stat(filepath.Join(base, "/", first, d.version)); err == nil {
		return first
	}
	if _, err := os.Stat(filepath.Join(base, "/", second, d.version)); err == nil {
		return second
	}
	return first
}

// rootFS is where DIR is looked up: below the base directory links are followed
// as if it were the root.
func (d *depmodDropIn) rootFS() (fs.FS, string, error) {
	base := d.root
	if base == "" || len(d.files) > 0 {
		return hostFS(), strings.TrimPrefix(filepath.ToSlash(filepath.Clean("/"+d.shownDir)), "/"), nil
	}
	root, err := rootfs.Open(base)
	if err != nil {
		return nil, "", err
	}
	return root, d.moduleDir + "/" + d.version, nil
}

// hostFS is the whole file system of this machine.
func hostFS() fs.FS { return os.DirFS("/") }

// upToDate is -A. What it cannot find out makes a full run.
func (d *depmodDropIn) upToDate() bool {
	if d.show {
		return true // kmod prints nothing then
	}
	fsys, dir, err := d.rootFS()
	if err != nil {
		return false
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "modules.dep")); errors.Is(err, fs.ErrNotExist) {
		d.say("ERROR", "could not fstatat(%s, modules.dep): No such file or directory", d.shownDir)
		return false
	}
	fresh, err := depmod.UpToDate(fsys, dir, depmod.Options{})
	return err == nil && fresh
}

// loadKernel reads the kernel's symbols for -e.
func (d *depmodDropIn) loadKernel() error {
	if d.symvers == "" && d.systemMap == "" {
		if d.check {
			d.say("WARNING", "-e needs -E or -F")
		}
		return nil
	}
	kernel, problems, err := readKernelSymbols(d.symvers, d.systemMap, d.prefixByte())
	if err != nil {
		return d.fatal("could not load %s: %s", cmp.Or(d.symvers, d.systemMap), systemText(err))
	}
	d.kernel = kernel
	d.problems(problems)
	return nil
}

// readKernelSymbols reads a Module.symvers, else a System.map.
func readKernelSymbols(symvers, systemMap string, prefix byte) (*depmod.KernelSymbols, []depmod.Problem, error) {
	data, err := os.ReadFile(cmp.Or(symvers, systemMap))
	if err != nil {
		return nil, nil, err
	}
	var kernel *depmod.KernelSymbols
	var problems []depmod.Problem
	if symvers != "" {
		kernel, problems = depmod.ParseSymvers(symvers, data)
	} else {
		kernel, problems = depmod.ParseSystemMap(systemMap, data, prefix)
	}
	return kernel, problems, nil
}

func (d *depmodDropIn) prefixByte() byte {
	if d.prefix == "" {
		return 0
	}
	return d.prefix[0]
}

func (d *depmodDropIn) problems(problems []depmod.Problem) {
	for _, p := range problems {
		if level, text, ok := p.Kmod(d.shownDir); ok && p.Severity > depmod.Info {
			d.say(level, "%s", text)
		}
	}
}

// index does the work.
func (d *depmodDropIn) index() error {
	defer boundMemory(indexMemory)()
	o := depmod.Options{Kernel: d.kernel, Check: d.check, Prefix: d.prefixByte(), Compat: d.compat, Host: hostFS(), Files: d.files}
	if err := d.checkFiles(); err != nil {
		return err
	}
	if len(d.files) == 0 {
		var problems []depmod.Problem
		var err error
		if o.Config, problems, err = depmod.ReadConfig(hostFS(), d.configPaths(), d.version); err != nil {
			return err
		}
		d.problems(problems)
	}
	fsys, dir, err := d.rootFS()
	var tree *depmod.Tree
	if err == nil {
		tree, err = depmod.Scan(context.Background(), fsys, dir, o)
	}
	var cycle *depmod.CycleError
	switch {
	case errors.As(err, &cycle):
		d.problems(tree.Problems)
		d.needs(tree)
		for _, names := range cycle.Cycles {
			d.say("ERROR", "Cycle detected: %s", strings.Join(names, " -> "))
		}
		d.say("ERROR", "Found %d modules in dependency cycles!", cycle.Count)
		return errSaid
	case err != nil && len(d.files) > 0:
		return d.fatal("could not create module %s", err)
	case err != nil:
		d.say("ERROR", "could not open directory %s: %s", d.shownDir, systemText(err))
		return d.fatal("could not search modules: %s", systemText(err))
	}
	return d.output(tree)
}

// checkFiles wants the FILE operands to be absolute and there.
func (d *depmodDropIn) checkFiles() error {
	for _, file := range d.files {
		if !filepath.IsAbs(file) {
			return d.fatal("%s: not absolute path.", file)
		}
		if _, err := os.Stat(file); err != nil {
			return d.fatal("could not create module %s: %s", file, systemText(err))
		}
	}
	return nil
}

func (d *depmodDropIn) configPaths() []string {
	if len(d.config) == 0 {
		return depmod.ConfigPaths
	}
	return hostPaths(d.config)
}

// hostPaths gives paths of this machine as names in hostFS.
func hostPaths(paths []string) []string {
	var names []string
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(abs), "/"))
		}
	}
	return names
}
