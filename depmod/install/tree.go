package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
)

// ErrAmbiguous tells that a directory has two files of one module.
var ErrAmbiguous = errors.New("which of them counts is not known")

// ReadTree finds the modules that are in a module directory already, a name free of links
// in fsys. They are staged into the same directory to convert it. Links are left to
// [Relink]. Of two files of one module in the same place (foo.ko and foo.ko.xz) that
// counts which modules.dep names; when it names none the error is [ErrAmbiguous].
func ReadTree(fsys fs.FS, dir string) ([]Module, error) {
	groups := make(map[string][]string)
	err := walkModules(fsys, dir, func(rel string, typ fs.FileMode) error {
		if typ.IsRegular() {
			groups[moduleKey(rel)] = append(groups[moduleKey(rel)], rel)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	var listed map[string]bool
	var modules []Module
	for _, files := range groups {
		if len(files) > 1 && listed == nil {
			if listed, err = listedModules(fsys, dir); err != nil {
				return nil, err
			}
		}
		file, err := counting(files, listed)
		if err != nil {
			return nil, fmt.Errorf("modules: %w", err)
		}
		modules = append(modules, Module{Path: modulePath(file), FS: fsys, File: path.Join(dir, file)})
	}
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return modules, nil
}

// moduleKey tells which files stand for the same module in the same place.
func moduleKey(file string) string { return path.Join(path.Dir(file), depmod.ModuleName(file)) }

// counting chooses among the files of one module.
func counting(files []string, listed map[string]bool) (string, error) {
	if len(files) == 1 {
		return files[0], nil
	}
	for _, file := range files {
		if listed[file] {
			return file, nil
		}
	}
	slices.Sort(files)
	return "", fmt.Errorf("%s: %w", strings.Join(files, " and "), ErrAmbiguous)
}

// listedModules reads which files the directory's modules.dep names.
func listedModules(fsys fs.FS, dir string) (map[string]bool, error) {
	listed := make(map[string]bool)
	data, err := fs.ReadFile(fsys, path.Join(dir, "modules.dep"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("modules: %w", err)
	}
	for line := range bytes.Lines(data) {
		file, _, _ := bytes.Cut(line, []byte(":"))
		listed[string(file)] = true
	}
	return listed, nil
}

// walkModules visits all that has a module file's name below a directory, links too, but
// follows none. Like depmod it passes over build and source.
func walkModules(fsys fs.FS, dir string, visit func(rel string, typ fs.FileMode) error) error {
	return fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == dir:
			return nil
		case d.Name() == "build", d.Name() == "source":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir(), depmod.ModuleSuffix(name) == "":
			return nil
		}
		return visit(strings.TrimPrefix(name, dir+"/"), d.Type())
	})
}
