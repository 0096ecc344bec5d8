//go:build unix

package install_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

func symlink(t *testing.T, to, root, name string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestLinksStayInside: links of the tree are followed as if it were the root, so that
// nothing is written elsewhere on this host.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	source := kotest.FS(t, map[string]string{"a.ko": "modinfo license=GPL"})
	for _, c := range []struct{ updates, want string }{
		{outside, ""},
		{"../../../../../../../../../../.." + outside, ""},
		{"/opt/modules", "opt/modules/a.ko"},
		{"../../../../../../../../opt/modules", "opt/modules/a.ko"},
	} {
		root := kotest.Dir(t, map[string]string{"opt/modules/file": "", "usr/lib/file": ""})
		symlink(t, "/usr/lib", root, "lib")
		symlink(t, c.updates, root, "usr/lib/modules/6.12.0/updates")
		_, err := stage(t, root, source, install.Options{})
		if c.want == "" && err == nil {
			t.Errorf("%s: no error", c.updates)
		}
		if c.want != "" {
			if err != nil {
				t.Errorf("%s: %v", c.updates, err)
			}
			readFile(t, root, c.want)
		}
		if files := list(t, outside); len(files) > 0 {
			t.Fatalf("%s: written outside: %v", c.updates, files)
		}
	}
}

// TestLinkReplaced: a link in the place of a module's file is replaced, what it leads to
// stays.
func TestLinkReplaced(t *testing.T) {
	root := kotest.Dir(t, map[string]string{"opt/a.ko": "modinfo license=GPL"})
	symlink(t, "/opt/a.ko", root, moduleDir+"/updates/a.ko")
	symlink(t, "/opt/a.ko", root, moduleDir+"/updates/a.ko.xz")
	old := readFile(t, root, "opt/a.ko")
	source := kotest.FS(t, map[string]string{"a.ko": "modinfo license=new"})
	report, err := stage(t, root, source, install.Options{})
	if err != nil || len(report.Written) != 1 || len(report.Removed) != 1 {
		t.Fatal(report, err)
	}
	if string(readFile(t, root, "opt/a.ko")) != string(old) {
		t.Error("what the link led to was overwritten")
	}
	info, err := os.Lstat(filepath.Join(root, moduleDir, "updates/a.ko"))
	if err != nil || info.Mode() != 0o644 {
		t.Error(info.Mode(), err)
	}
}

// TestFailedWrite: a module that cannot be written takes the new ones with it.
func TestFailedWrite(t *testing.T) {
	root := kotest.Dir(t, map[string]string{
		moduleDir + "/updates/a.ko":            "modinfo license=old",
		moduleDir + "/updates/z.ko.zst/in.way": "a directory has the name of the file",
	})
	source := kotest.FS(t, map[string]string{"a.ko": "modinfo license=GPL", "z.ko": "modinfo license=GPL"})
	if _, err := stage(t, root, source, install.Options{Packing: new(modinfo.Zstd), Workers: 1}); err == nil {
		t.Fatal("no error")
	}
	if got := list(t, root); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

func TestLink(t *testing.T) {
	root := kotest.Dir(t, map[string]string{moduleDir + "/directory/x": ""})
	target, err := install.OpenTarget(root, moduleDir)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for _, c := range []struct {
		to      string
		changed bool
	}{{"/a", true}, {"/a", false}, {"/b", true}} {
		if changed, err := target.Link("build", c.to); err != nil || changed != c.changed {
			t.Errorf("%s: %v, %v", c.to, changed, err)
		}
		if to, err := os.Readlink(filepath.Join(root, moduleDir, "build")); err != nil || to != c.to {
			t.Error(to, err)
		}
	}
	if _, err := target.Link("directory", "/a"); err == nil {
		t.Error("a directory was replaced by a link")
	}
}

// TestOutOfDirectory: a link that leads out of a directory of modules is not followed.
func TestOutOfDirectory(t *testing.T) {
	dir := kotest.Dir(t, map[string]string{"a.ko": "modinfo license=GPL", "sub/b.ko": "modinfo license=GPL"})
	outside := kotest.Dir(t, map[string]string{"c.ko": "modinfo license=GPL"})
	symlink(t, filepath.Join(outside, "c.ko"), dir, "c.ko")
	symlink(t, outside, dir, "more")
	symlink(t, "a.ko", dir, "inside.ko")
	symlink(t, "nothing", dir, "dangling.ko")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	modules, problems, err := install.ReadDir(root.FS(), "updates")
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 2 || problems[0].Path != "c.ko" || problems[1].Path != "dangling.ko" {
		t.Errorf("%v", problems)
	}
	var files []string
	for _, m := range modules {
		files = append(files, m.File)
	}
	if len(files) != 3 || files[0] != "a.ko" || files[1] != "inside.ko" || files[2] != "sub/b.ko" {
		t.Errorf("%q", files)
	}
	if err := install.Check(context.Background(), modules, install.Options{}); err != nil || modules[1].Err != nil {
		t.Error(err, modules[1].Err)
	}
}
