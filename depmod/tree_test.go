package depmod_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

const dir = "lib/modules/6.1.0"

// tree is a file system whose names are below the module directory, but for
// those that begin with a slash.
func tree(t testing.TB, texts map[string]string) fstest.MapFS {
	t.Helper()
	full := make(map[string]string)
	for name, text := range texts {
		if rooted, ok := strings.CutPrefix(name, "/"); ok {
			full[rooted] = text
		} else {
			full[dir+"/"+name] = text
		}
	}
	return kotest.FS(t, full)
}

// complete is a tree with the three lists of the kernel's build.
func complete(t testing.TB, texts map[string]string) fstest.MapFS {
	t.Helper()
	fsys := tree(t, texts)
	for name, text := range map[string]string{"modules.order": "", "modules.builtin": "kernel/b.ko\n", "modules.builtin.modinfo": "b.file=b\x00"} {
		fsys[dir+"/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func symlink(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

func scan(t testing.TB, fsys fs.FS, o depmod.Options) *depmod.Tree {
	t.Helper()
	tree, err := depmod.Scan(context.Background(), fsys, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func paths(tree *depmod.Tree) []string {
	var list []string
	for _, m := range tree.Modules {
		list = append(list, m.Path)
	}
	slices.Sort(list)
	return list
}

// findings words problems as "severity rule path".
func findings(problems []depmod.Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, fmt.Sprintf("%v %s %s", p.Severity, p.Rule, p.Path))
	}
	return list
}

func TestLinks(t *testing.T) {
	fsys := complete(t, map[string]string{
		"kernel/a.ko": "export a", "/opt/vendor/b.ko": "need a", "/opt/vendor/deep/c.ko": "", "/etc/passwd": "x",
	})
	for name, target := range map[string]string{
		"updates":      "/opt/vendor",                                  // absolute: inside the root
		"extra/b2.ko":  "../../../../opt/vendor/b.ko",                  // relative
		"extra/up.ko":  "../../../../../../../../opt/vendor/deep/c.ko", // ".." stops at the root
		"kernel/loop":  ".",
		"kernel/up":    "..",
		"gone.ko":      "/nowhere.ko",
		"gone.txt":     "/nowhere",
		"circle.ko":    "circle.ko",
		"kernel/build": "/opt/vendor",
		"source":       "/opt/vendor",
	} {
		fsys[dir+"/"+name] = symlink(target)
	}
	got := scan(t, fsys, depmod.Options{})
	if diff := cmp.Diff([]string{"extra/b2.ko", "extra/up.ko", "kernel/a.ko", "updates/b.ko", "updates/deep/c.ko"}, paths(got)); diff != "" {
		t.Error("want -, got +:\n" + diff)
	}
	if diff := cmp.Diff([]string{
		"error dangling-link circle.ko",
		"error dangling-link gone.ko",
		"warning dangling-link gone.txt",
		"warning directory-loop kernel/loop",
		"warning directory-loop kernel/up",
	}, findings(got.Problems)); diff != "" {
		t.Error("want -, got +:\n" + diff)
	}
	for _, m := range got.Modules {
		if m.Name == "b" && (len(m.Deps) != 1 || m.Deps[0].Name != "a") {
			t.Errorf("b needs %v", m.Deps)
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		links map[string]string
		want  []string
	}{
		{"nothing", nil, nil, nil},
		{"lib", []string{"lib/modules/6.1.0/x", "lib/modules/5.10.1-foo/x", "lib/modules/junk/x", "lib/modules/6.2"}, nil,
			[]string{"lib/modules/5.10.1-foo", "lib/modules/6.1.0"}},
		{"usr/lib", []string{"usr/lib/modules/6.1.0/x"}, nil, []string{"usr/lib/modules/6.1.0"}},
		{"lib is a link", []string{"usr/lib/modules/6.1.0/x"}, map[string]string{"lib": "usr/lib"}, []string{"usr/lib/modules/6.1.0"}},
		{"lib is an absolute link", []string{"usr/lib/modules/6.1.0/x"}, map[string]string{"lib": "/usr/lib"}, []string{"usr/lib/modules/6.1.0"}},
		{"lib/modules is a link", []string{"opt/m/6.1.0/x"}, map[string]string{"lib/modules": "/opt/m"}, []string{"opt/m/6.1.0"}},
		{"both", []string{"usr/lib/modules/6.1.0/x", "lib/modules/6.1.0/x"}, nil, []string{"lib/modules/6.1.0", "usr/lib/modules/6.1.0"}},
		{"version is a link", []string{"lib/modules/6.1.0/x"}, map[string]string{"lib/modules/6.1": "6.1.0", "lib/modules/6.3": "/x"}, []string{"lib/modules/6.1.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for _, f := range c.files {
				fsys[f] = &fstest.MapFile{}
			}
			for name, target := range c.links {
				fsys[name] = symlink(target)
			}
			got, err := depmod.Find(fsys)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
		})
	}
}

func TestCompleteFromTheTree(t *testing.T) {
	mods := map[string]string{"kernel/b/zz.ko.xz": "", "kernel/a/a_b.ko": "", "updates/ext4.ko": ""}
	for _, c := range []struct {
		name     string
		lists    map[string]string
		made     map[string]string // file → content
		problems []string
	}{
		{"nothing is there", nil, map[string]string{
			// hash order of the names, computed from the vectors of the specification:
			// a_b 7a9c1561 % 512 = 353, zz ed4d6942 % 512 = 322, ext4 e679ab16 % 512 = 278
			"modules.order":           "updates/ext4.ko\nkernel/b/zz.ko\nkernel/a/a_b.ko\n",
			"modules.builtin":         "",
			"modules.builtin.modinfo": "",
		}, []string{"warning modules.builtin modules.builtin", "warning modules.builtin.modinfo modules.builtin.modinfo", "info modules.order modules.order"}},
		{"modules.builtin.modinfo is there", map[string]string{
			"modules.order":           "",
			"modules.builtin.modinfo": "crc16.file=lib/crc16\x00crc16.license=GPL\x00two.file=a/one b/two\x00two2.file=b/two\x00two.file=a/one\x00file=x\x00",
		}, map[string]string{"modules.builtin": "kernel/lib/crc16.ko\nkernel/a/one.ko\nkernel/b/two.ko\nkernel/a/one.ko\n"}, nil},
		{"all are there", map[string]string{"modules.order": "", "modules.builtin": "kernel/a.ko\n", "modules.builtin.modinfo": "a.file=a\x00"}, map[string]string{}, nil},
		{"empty ones are as good as none", map[string]string{"modules.order": "", "modules.builtin": "", "modules.builtin.modinfo": ""},
			map[string]string{"modules.builtin": "", "modules.builtin.modinfo": ""},
			[]string{"warning modules.builtin modules.builtin", "warning modules.builtin.modinfo modules.builtin.modinfo"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tree(t, mods)
			for name, text := range c.lists {
				fsys[dir+"/"+name] = &fstest.MapFile{Data: []byte(text)}
			}
			got := scan(t, fsys, depmod.Options{Complete: true})
			made := make(map[string]string)
			files, _ := got.Files()
			for _, f := range files {
				if f.Made != "" {
					var b strings.Builder
					if err := f.Write(&b); err != nil {
						t.Fatal(err)
					}
					made[f.Name] = b.String()
				}
			}
			if diff := cmp.Diff(c.made, made); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
			if diff := cmp.Diff(c.problems, findings(got.Problems)); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
			for _, p := range got.Problems {
				if p.Hint == "" {
					t.Errorf("%v: no way out is named", p)
				}
			}
		})
	}
}

func TestCompleteFromTheBuild(t *testing.T) {
	build := fstest.MapFS{
		"include/config/kernel.release": &fstest.MapFile{Data: []byte("6.1.0\n")},
		"modules.order":                 &fstest.MapFile{Data: []byte("b/b.o\na/a.ko\nkernel/c/c.ko\n")},
		"modules.builtin":               &fstest.MapFile{Data: []byte("kernel/lib/crc16.ko\n")},
		"modules.builtin.modinfo":       &fstest.MapFile{Data: []byte("crc16.alias=crypto-crc16\x00")},
	}
	fsys := tree(t, map[string]string{"kernel/a/a.ko": "", "kernel/b/b.ko": "", "kernel/c/c.ko": "", "modules.builtin": "kernel/own.ko\n"})
	got := scan(t, fsys, depmod.Options{Complete: true, KernelBuild: build})
	var order []string
	for _, m := range got.Modules {
		order = append(order, m.Name)
	}
	if diff := cmp.Diff([]string{"b", "a", "c"}, order); diff != "" {
		t.Error(diff)
	}
	files, _ := got.Files()
	var made []string
	for _, f := range files {
		var b strings.Builder
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		if f.Made != "" {
			made = append(made, f.Name+" from "+f.Made)
		}
		if f.Name == "modules.order" && b.String() != "kernel/b/b.ko\nkernel/a/a.ko\nkernel/c/c.ko\n" {
			t.Errorf("modules.order: %q", b.String())
		}
	}
	if diff := cmp.Diff([]string{"modules.order from the kernel build", "modules.builtin.modinfo from the kernel build"}, made); diff != "" {
		t.Error(diff)
	}
	build["include/config/kernel.release"].Data = []byte("6.1.1\n")
	if _, err := depmod.Scan(context.Background(), fsys, dir, depmod.Options{Complete: true, KernelBuild: build}); err == nil || !strings.Contains(err.Error(), "6.1.1") {
		t.Errorf("another kernel's build was taken: %v", err)
	}
}

func TestUnreadableModules(t *testing.T) {
	fsys := complete(t, map[string]string{"kernel/good.ko": "need lost", "kernel/lost.ko": "export lost"})
	fsys[dir+"/kernel/lost.ko"].Data = []byte("<html>404</html>")
	fsys[dir+"/kernel/zero.ko"] = &fstest.MapFile{}
	got := scan(t, fsys, depmod.Options{})
	if diff := cmp.Diff([]string{"error unreadable-module kernel/lost.ko", "error unreadable-module kernel/zero.ko"}, findings(got.Problems)); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(got.Problems[0].Err, modinfo.ErrNotELF) || !errors.Is(got.Problems[1].Err, modinfo.ErrTooShort) {
		t.Errorf("errors %v, %v", got.Problems[0].Err, got.Problems[1].Err)
	}
	if len(got.Modules) != 3 {
		t.Errorf("%d modules are listed, want all 3", len(got.Modules))
	}
}

func TestCycles(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		text  []string
	}{
		{"two", map[string]string{"a.ko": "export a\nneed b", "b.ko": "export b\nneed a", "c.ko": "need a"},
			[]string{"a -> b -> a"}},
		{"itself", map[string]string{"a.ko": "export a\nneed a"}, []string{"a -> a"}},
		{"a way into a circle", map[string]string{"r.ko": "export r\nneed a\nneed s", "a.ko": "export a\nneed b", "b.ko": "export b\nneed a", "s.ko": "export s\nneed r"},
			[]string{"a -> b -> a", "r -> s -> r"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tree(t, c.files)
			fsys[dir+"/modules.order"] = &fstest.MapFile{Data: []byte("r.ko\na.ko\nb.ko\ns.ko\n")}
			got, err := depmod.Scan(context.Background(), fsys, dir, depmod.Options{})
			var cycle *depmod.CycleError
			if !errors.As(err, &cycle) {
				t.Fatalf("got %v, %v", got, err)
			}
			for _, text := range c.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

func TestNonASCIIStaysOutOfTheIndex(t *testing.T) {
	got := scan(t, complete(t, map[string]string{"a.ko": "modinfo alias=grün\nmodinfo alias=blue"}), depmod.Options{})
	files, problems := got.Files()
	if diff := cmp.Diff([]string{"warning non-ascii a.ko"}, findings(problems)); diff != "" {
		t.Error(diff)
	}
	for _, f := range files {
		var b strings.Builder
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		if f.Name == "modules.alias" && !strings.Contains(b.String(), "alias grün a\n") {
			t.Error("the text file lacks the alias")
		}
		if f.Name == "modules.alias.bin" && (strings.Contains(b.String(), "gr\x00") || !strings.Contains(b.String(), "lue")) {
			t.Error("the binary index holds what it should not, or lacks the rest")
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := depmod.Scan(ctx, tree(t, map[string]string{"a.ko": ""}), dir, depmod.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestWorkers: how many modules are read at once changes nothing.
func TestWorkers(t *testing.T) {
	texts := make(map[string]string)
	for i := range 50 {
		texts[fmt.Sprintf("m%d.ko", i)] = fmt.Sprintf("export s%d\nneed s%d\nmodinfo alias=x%d", i, i+7, i%5)
	}
	var first string
	for _, workers := range []int{1, 2, 16} {
		files, _ := scan(t, tree(t, texts), depmod.Options{Workers: workers}).Files()
		var b strings.Builder
		for _, f := range files {
			if err := f.Write(&b); err != nil {
				t.Fatal(err)
			}
		}
		if first == "" {
			first = b.String()
		}
		if b.String() != first {
			t.Errorf("%d workers give other files", workers)
		}
	}
}

func Example() {
	fsys := os.DirFS("../testdata/initrd-rv64")
	dirs, err := depmod.Find(fsys)
	if err != nil || len(dirs) == 0 {
		fmt.Println("no modules", err)
		return
	}
	tree, err := depmod.Scan(context.Background(), fsys, dirs[0], depmod.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	files, _ := tree.Files()
	for _, f := range files {
		if f.Name == "modules.dep" {
			if err := f.Write(os.Stdout); err != nil {
				fmt.Println(err)
			}
		}
	}
	// Unordered output:
	// kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
	// kernel/drivers/virtio/virtio.ko:
	// kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
	// updates/board_led.ko:
}
