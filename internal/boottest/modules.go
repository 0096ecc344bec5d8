package boottest

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// AddModules copies modules of the lab's kernel into dir, at their places below
// lib/modules/RELEASE, without any modules.* file, and returns RELEASE. It takes
// the named modules and all that their "depends" fields lead to; soft
// dependencies must be named. Without names it takes all of them.
func AddModules(t testing.TB, dir string, names ...string) string {
	t.Helper()
	tree := kotest.LabTree(t, "xz")
	paths := labModules(t, tree)
	wanted := paths
	if len(names) > 0 {
		wanted = closure(t, tree, paths, names)
	}
	for _, path := range wanted {
		copyFile(t, filepath.Join(tree, path), filepath.Join(dir, path))
	}
	return kotest.LabVersion(t)
}

// labModules returns the path of each module of the lab's kernel, from lib on,
// by name.
func labModules(t testing.TB, tree string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	err := fs.WalkDir(os.DirFS(tree), "lib/modules", func(path string, _ fs.DirEntry, err error) error {
		name, isModule := strings.CutSuffix(filepath.Base(path), ".ko.xz")
		if isModule {
			paths[underscores(name)] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// closure returns the part of paths that names and their dependencies need.
func closure(t testing.TB, tree string, paths map[string]string, names []string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for len(names) > 0 {
		name := underscores(names[0])
		names = names[1:]
		if found[name] != "" {
			continue
		}
		path, ok := paths[name]
		if !ok {
			t.Fatalf("the lab's kernel has no module %s", name)
		}
		found[name] = path
		names = append(names, depends(t, filepath.Join(tree, path))...)
	}
	return found
}

// depends returns the names in the "depends" field of a .ko.xz.
func depends(t testing.TB, path string) []string {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	data, err := exec.Command("xz", "-dc", path).Output()
	fail(err)
	f, err := elf.NewFile(bytes.NewReader(data))
	fail(err)
	section := f.Section(".modinfo")
	if section == nil {
		t.Fatalf("%s: no section .modinfo", path)
	}
	info, err := section.Data()
	fail(err)
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// underscores makes one of the two ways to write a module's name.
func underscores(name string) string { return strings.ReplaceAll(name, "-", "_") }
