package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

// TestSameIndex: kstage depmod leaves an index alone that was made from the same, and only
// then. Whatever it does, what is there afterwards is what a run that remembers nothing
// makes.
func TestSameIndex(t *testing.T) {
	const dir = "lib/modules/6.1.0"
	root := kotest.Dir(t, map[string]string{
		dir + "/kernel/a.ko.xz": "modinfo alias=pci:a\nmodinfo softdep=pre: b\nexport a_one crc=0x1\nneed printk crc=0x2",
		dir + "/kernel/b.ko.xz": "need a_one crc=0x1",
		dir + "/kernel/c.ko":    "modinfo alias=pci:c",
	})
	module := filepath.Join(root, filepath.FromSlash(dir))
	write := func(name, text string) {
		t.Helper()
		b := []byte(text)
		if depmod.ModuleSuffix(name) != "" {
			var err error
			if b, err = kotest.File(name, text); err != nil {
				t.Fatal(err)
			}
		}
		name = filepath.Join(module, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(name string, change func([]byte) []byte) {
		t.Helper()
		name = filepath.Join(module, filepath.FromSlash(name))
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, change(b), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("modules.order", "kernel/a.ko\nkernel/b.ko\nkernel/c.ko\n")
	write("modules.builtin", "kernel/lib/crc16.ko\n")
	write("modules.builtin.modinfo", "crc16.license=GPL\x00crc16.alias=crc\x00")
	t.Setenv(cacheVariable, t.TempDir())

	kstage := func(args ...string) {
		t.Helper()
		var out, said bytes.Buffer
		if code := run(append([]string{"depmod", "-b", root}, args...), &out, &said); code != exitOK {
			t.Fatalf("depmod %v: status %d, %s", args, code, said.String())
		}
	}
	isSame := func() bool {
		t.Helper()
		fsys, err := openRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		f := indexFlags{out: root, options: depmod.Options{Compat: 34}}
		kernels, err := f.index(context.Background(), newUI(io.Discard, io.Discard), fsys, []string{dir})
		if err != nil {
			t.Fatal(err)
		}
		return kernels[0].tree.Same
	}
	index := func(root string) map[string]string {
		t.Helper()
		files := make(map[string]string)
		for _, name := range depmod.IndexNames {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(dir), name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(b)
		}
		return files
	}
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(module, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}

	type step struct {
		name string
		same bool
		edit func()
	}
	steps := []step{
		{"nothing was made yet", false, func() {}},
		{"nothing has changed", true, func() {}},
		{"a module whose index is the same", true, func() {
			write("kernel/b.ko.xz", "modinfo description=new\nneed a_one crc=0x7")
		}},
		{"a plain module whose index is the same", true, func() {
			write("kernel/c.ko", "modinfo description=new\nmodinfo alias=pci:c")
		}},
		{"an alias", false, func() { write("kernel/b.ko.xz", "modinfo alias=pci:b\nneed a_one crc=0x1") }},
		{"another packing", false, func() {
			remove("kernel/b.ko.xz")
			write("kernel/b.ko.zst", "modinfo alias=pci:b\nneed a_one crc=0x1")
		}},
		{"an alias of a plain module", false, func() { write("kernel/c.ko", "modinfo alias=pci:d") }},
		{"a soft dependency", false, func() {
			write("kernel/a.ko.xz", "modinfo alias=pci:a\nmodinfo softdep=pre: c\nexport a_one crc=0x1\nneed printk crc=0x2")
		}},
		{"an export", false, func() {
			write("kernel/a.ko.xz", "modinfo alias=pci:a\nmodinfo softdep=pre: c\nexport a_one crc=0x1\nexport a_two crc=0x1\nneed printk crc=0x2")
		}},
		{"a symbol that is needed", false, func() { write("kernel/c.ko", "modinfo alias=pci:d\nneed a_two crc=0x1") }},
		{"a symbol that is no longer needed", false, func() { write("kernel/c.ko", "modinfo alias=pci:d") }},
		{"a module", false, func() { write("updates/e.ko.xz", "modinfo alias=pci:e") }},
		{"a module that is gone", false, func() { remove("updates/e.ko.xz") }},
		{"a module that hides another", false, func() { write("updates/c.ko", "modinfo alias=pci:d") }},
		{"that again", true, func() {}},
		{"another order", false, func() { write("modules.order", "kernel/c.ko\nkernel/b.ko\nkernel/a.ko\n") }},
		{"another built-in module", false, func() { write("modules.builtin", "kernel/lib/crc32.ko\n") }},
		{"another built-in alias", false, func() {
			write("modules.builtin.modinfo", "crc16.license=GPL\x00crc16.alias=crc2\x00")
		}},
		{"an index file that was changed", false, func() {
			edit("modules.dep", func(b []byte) []byte { return bytes.ToUpper(b) })
		}},
		{"a binary index that was cut off", false, func() {
			edit("modules.symbols.bin", func(b []byte) []byte { return b[:len(b)-1] })
		}},
		{"an index file that is gone", false, func() { remove("modules.devname") }},
		{"the index of a tree that was there before", false, func() {
			remove("updates/c.ko")
			write("modules.order", "kernel/a.ko\nkernel/b.ko\nkernel/c.ko\n")
		}},
		{"nothing has changed", true, func() {}},
	}
	if runtime.GOOS != "windows" {
		steps = append(steps, []step{
			{"another mode", false, func() {
				if err := os.Chmod(filepath.Join(module, "modules.dep"), 0o600); err != nil {
					t.Fatal(err)
				}
			}},
			{"a link to the same", false, func() {
				name := filepath.Join(module, "modules.alias")
				if err := os.Rename(name, name+".moved"); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("modules.alias.moved", name); err != nil {
					t.Fatal(err)
				}
			}},
		}...)
	}
	steps = append(steps,
		step{"a module that cannot be read", false, func() { edit("kernel/b.ko.zst", func(b []byte) []byte { return b[:len(b)/2] }) }},
		step{"which is told each time", false, func() {}},
	)
	for i, step := range steps {
		step.edit()
		if got := isSame(); got != step.same {
			t.Errorf("step %d, %s: same %v, not %v", i, step.name, got, step.same)
		}
		for _, compat := range []string{"33", "34"} {
			kstage("--compat", compat)
			other := t.TempDir()
			kstage("--compat", compat, "--no-cache", "-o", other)
			if diff := cmp.Diff(index(other), index(root)); diff != "" {
				t.Fatalf("step %d, %s: without the cache -, with it +:\n%s", i, step.name, diff)
			}
		}
	}
}
