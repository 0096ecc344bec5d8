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

// TestSameIndex: kstage depmod leaves a part of an index alone that was made from the same,
// and only then. Whatever it does, what is there afterwards is what a run that remembers
// nothing makes.
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
	type parts = [3]bool
	same := func() parts {
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
		same parts
		edit func()
	}
	none, all := parts{}, parts{depmod.Needs: true, depmod.Offers: true, depmod.Words: true}
	butNeeds, butOffers, butWords := all, all, all
	butNeeds[depmod.Needs], butOffers[depmod.Offers], butWords[depmod.Words] = false, false, false
	words := parts{depmod.Words: true}
	steps := []step{
		{"nothing was made yet", none, func() {}},
		{"nothing has changed", all, func() {}},
		{"a module whose index is the same", all, func() {
			write("kernel/b.ko.xz", "modinfo description=new\nneed a_one crc=0x7")
		}},
		{"a plain module whose index is the same", all, func() {
			write("kernel/c.ko", "modinfo description=new\nmodinfo alias=pci:c")
		}},
		{"an alias", butWords, func() { write("kernel/b.ko.xz", "modinfo alias=pci:b\nneed a_one crc=0x1") }},
		{"another packing", none, func() {
			remove("kernel/b.ko.xz")
			write("kernel/b.ko.zst", "modinfo alias=pci:b\nneed a_one crc=0x1")
		}},
		{"an alias of a plain module", butWords, func() { write("kernel/c.ko", "modinfo alias=pci:d") }},
		{"a soft dependency", butWords, func() {
			write("kernel/a.ko.xz", "modinfo alias=pci:a\nmodinfo softdep=pre: c\nexport a_one crc=0x1\nneed printk crc=0x2")
		}},
		{"a device and a weak dependency", butWords, func() {
			write("kernel/c.ko", "modinfo alias=pci:d\nmodinfo alias=devname:c\nmodinfo alias=char-major-10-200\nmodinfo weakdep=b")
		}},
		{"these are gone", butWords, func() { write("kernel/c.ko", "modinfo alias=pci:d") }},
		{"an export", words, func() {
			write("kernel/a.ko.xz", "modinfo alias=pci:a\nmodinfo softdep=pre: c\nexport a_one crc=0x1\nexport a_two crc=0x1\nneed printk crc=0x2")
		}},
		{"a symbol that is needed", butNeeds, func() { write("kernel/c.ko", "modinfo alias=pci:d\nneed a_two crc=0x1") }},
		{"a symbol that is no longer needed", butNeeds, func() { write("kernel/c.ko", "modinfo alias=pci:d") }},
		{"a module", none, func() { write("updates/e.ko.xz", "modinfo alias=pci:e") }},
		{"a module without symbols is gone", parts{depmod.Offers: true}, func() { remove("updates/e.ko.xz") }},
		{"a module that hides another", none, func() { write("updates/c.ko", "modinfo alias=pci:d") }},
		{"that again", all, func() {}},
		{"another order", none, func() { write("modules.order", "kernel/c.ko\nkernel/b.ko\nkernel/a.ko\n") }},
		{"another built-in module", butOffers, func() { write("modules.builtin", "kernel/lib/crc32.ko\n") }},
		{"another built-in alias", butOffers, func() {
			write("modules.builtin.modinfo", "crc16.license=GPL\x00crc16.alias=crc2\x00")
		}},
		{"an index file that was changed", butNeeds, func() {
			edit("modules.dep", func(b []byte) []byte { return bytes.ToUpper(b) })
		}},
		{"a binary index that was cut off", butOffers, func() {
			edit("modules.symbols.bin", func(b []byte) []byte { return b[:len(b)-1] })
		}},
		{"an index file that is gone", butWords, func() { remove("modules.devname") }},
		{"the index of a tree that was there before", none, func() {
			remove("updates/c.ko")
			write("modules.order", "kernel/a.ko\nkernel/b.ko\nkernel/c.ko\n")
		}},
		{"nothing has changed", all, func() {}},
		{"an empty order", none, func() { write("modules.order", "") }},
		{"none, so that one is made", none, func() { remove("modules.order") }},
		{"nothing has changed", all, func() {}},
	}
	if runtime.GOOS != "windows" {
		steps = append(steps, []step{
			{"another mode", butNeeds, func() {
				if err := os.Chmod(filepath.Join(module, "modules.dep"), 0o600); err != nil {
					t.Fatal(err)
				}
			}},
			{"a link to the same", butWords, func() {
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
		step{"a module that cannot be read", none, func() { edit("kernel/b.ko.zst", func(b []byte) []byte { return b[:len(b)/2] }) }},
		step{"which is told each time", none, func() {}},
	)
	for i, step := range steps {
		step.edit()
		if got := same(); got != step.same {
			t.Errorf("step %d, %s: same %v, not %v", i, step.name, got, step.same)
		}
		for _, compat := range []string{"34", "33", "34"} {
			kstage("--compat", compat)
			other := t.TempDir()
			kstage("--compat", compat, "--no-cache", "-o", other)
			if diff := cmp.Diff(index(other), index(root)); diff != "" {
				t.Fatalf("step %d, %s: without the cache -, with it +:\n%s", i, step.name, diff)
			}
		}
	}
}
