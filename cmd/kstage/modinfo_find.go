package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/kstage/kstage/depmod/index"
	"github.com/kstage/kstage/modinfo"
)

// A found module is what an operand of modinfo stands for.
type found struct {
	name string // the module's name
	path string // its file; "" when it is built into the kernel
	// lost: an alias names it, but neither the files nor the built-in modules
	// have it. kmod takes it for built-in.
	lost bool
	dir  *moduleDir // where a built-in module's fields stand
}

// moduleSuffixes are the ends of module files' names.
var moduleSuffixes = []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"}

func isModuleName(name string) bool {
	for _, suffix := range moduleSuffixes {
		if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// moduleFile tells whether an operand names a module's file.
func moduleFile(operand string) bool {
	if !isModuleName(operand) {
		return false
	}
	info, err := os.Stat(operand)
	return err == nil && info.Mode().IsRegular()
}

// fileModule is the module in a file. The path is shown with the working
// directory in front, not cleaned, as kmod shows it.
func fileModule(operand string) (found, error) {
	path, err := absolute(operand)
	return found{name: moduleName(operand), path: path}, err
}

// moduleName is what a file's module is called: the base name up to its first
// dot, with underscores.
func moduleName(path string) string {
	name := path[strings.LastIndexAny(path, "/"+string(os.PathSeparator))+1:]
	name, _, _ = strings.Cut(name, ".")
	return strings.ReplaceAll(name, "-", "_")
}

// A moduleDir is a kernel's module directory, such as /lib/modules/6.12.0, in
// whose indexes modules are looked up.
type moduleDir struct {
	path    string // as it is shown
	indexes map[string]*index.Index
	errs    []error // why an index could not be read, other than that it is missing
}

func newModuleDir(path string) *moduleDir {
	return &moduleDir{path: path, indexes: make(map[string]*index.Index)}
}

// index opens one of the modules.*.bin; one that is missing or damaged is empty.
func (d *moduleDir) index(name string) *index.Index {
	if ix, ok := d.indexes[name]; ok {
		return ix
	}
	path := d.path + "/modules." + name + ".bin"
	var ix *index.Index
	data, err := os.ReadFile(path)
	if err == nil && len(data) > 0 { // depmod leaves an empty file where it had no list
		ix, err = index.Open(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.errs = append(d.errs, &fs.PathError{Op: "read", Path: path, Err: err})
	}
	if ix == nil {
		ix = new(index.Index)
	}
	d.indexes[name] = ix
	return ix
}

// lookup finds modules by name or alias, in the first of the indexes that has
// any, in the order of their priority and with repetitions.
func (d *moduleDir) lookup(text string) ([]found, error) {
	text, err := index.Normalize(text)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(text, ":") && len(d.index("dep").Lookup(text)) > 0 {
		return d.named(text), nil
	}
	var names []index.Value
	if strings.HasPrefix(text, "symbol:") {
		names = d.index("symbols").Match(text)
	}
	if len(names) == 0 {
		names = d.index("alias").Match(text)
	}
	if len(names) == 0 && len(d.index("builtin").Lookup(text)) > 0 {
		return d.named(text), nil
	}
	if len(names) == 0 {
		names = d.builtinAlias(text)
	}
	var modules []found
	for _, v := range names {
		modules = append(modules, d.named(v.Text)...)
	}
	return modules, nil
}

// lookupName finds a module by its name alone, or by the alias of a built-in one.
func (d *moduleDir) lookupName(name string) []found {
	name, _, _ = strings.Cut(name, ".")
	name = strings.ReplaceAll(name, "-", "_")
	if len(d.index("dep").Lookup(name)) > 0 || len(d.index("builtin").Lookup(name)) > 0 {
		return d.named(name)
	}
	if names := d.builtinAlias(name); len(names) > 0 {
		return d.named(names[0].Text)
	}
	return nil
}

// builtinAlias finds the built-in modules of an alias. They all have the same
// priority, and modinfo gives the values of one key in stored order, where
// modprobe, after which Match goes, turns them round.
func (d *moduleDir) builtinAlias(text string) []index.Value {
	ix := d.index("builtin.alias")
	names, exact := ix.Match(text), ix.Lookup(text)
	return append(exact, names[min(len(exact), len(names)):]...)
}

// named is the module of that name, as one or no element.
func (d *moduleDir) named(name string) []found {
	name, _, _ = strings.Cut(name, ".")
	if name == "" {
		return nil
	}
	m := found{name: strings.ReplaceAll(name, "-", "_"), dir: d}
	values := d.index("dep").Lookup(m.name)
	if len(values) == 0 {
		m.lost = len(d.index("builtin").Lookup(m.name)) == 0
		return []found{m}
	}
	// the value is a line of modules.dep: PATH: DEPENDENCY…
	m.path, _, _ = strings.Cut(values[0].Text, ":")
	if !strings.HasPrefix(m.path, "/") {
		m.path = d.path + "/" + m.path
	}
	return []found{m}
}

// maxBuiltinInfo bounds modules.builtin.modinfo; a large kernel's has some 100 KiB.
const maxBuiltinInfo = 64 << 20

// builtinFields gives what modules.builtin.modinfo says of a module; nothing
// when there is no such file.
func (d *moduleDir) builtinFields(name string) ([]modinfo.Field, error) {
	path := d.path + "/modules.builtin.modinfo"
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxBuiltinInfo {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("is larger than 64 MiB")}
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modinfo.BuiltinFields(string(data), name)
}
