//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
)

// TestBoot is the main job: a tree that holds only modules, a modprobe and init,
// without any modules.* file, packed by a user without rights, boots a real
// kernel and finds its modules. busybox reads the text indexes, kmod the binary
// ones.
func TestBoot(t *testing.T) {
	for _, tool := range []struct {
		name, modprobe string
		add            func(testing.TB, string)
	}{
		{"busybox", "busybox modprobe", boottest.AddBusybox},
		{"kmod", "modprobe", boottest.AddKmod},
	} {
		t.Run(tool.name, func(t *testing.T) {
			root := openDir(t)
			tool.add(t, root)
			boottest.AddModules(t, root, "ext4", "virtio_mmio", "virtio_net")
			boottest.AddInit(t, root,
				tool.modprobe+" ext4",
				"cat /proc/filesystems",
				"modprobe-bymodalias "+tool.modprobe,
				"wait-for /sys/class/net/eth0",
				tool.modprobe+" no_such_module")
			image := filepath.Join(openDir(t), "image.cpio.gz")
			if out, err := unprivileged(t, "pack", root, "-o", image).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			console := boottest.Run(t, boottest.Machine{Initrd: image, Net: true})
			for i, r := range boottest.Results(t, console) {
				switch {
				case i == 4 && r.Exit == 0:
					t.Error("a module that is not there was loaded")
				case i == 1 && !strings.Contains(r.Output, "\text4\n"):
					t.Errorf("no ext4:\n%s", r.Output)
				case i < 4 && r.Exit != 0:
					t.Errorf("%s: exit %d\n%s", r.Command, r.Exit, r.Output)
				}
			}
		})
	}
}

// TestBootFromTar boots what came through a tar, and through another image, with
// modules that lie below a link.
func TestBootFromTar(t *testing.T) {
	root := openDir(t)
	boottest.AddBusybox(t, root)
	boottest.AddModules(t, root, "ext4")
	boottest.AddInit(t, root, "busybox modprobe ext4", "cat /proc/filesystems")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr"), 0o755), os.Rename(filepath.Join(root, "lib"), filepath.Join(root, "usr/lib")),
		os.Symlink("usr/lib", filepath.Join(root, "lib"))); err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(openDir(t), "x.cpio.gz"), filepath.Join(openDir(t), "y.cpio.gz")
	for _, args := range [][]string{{"pack", gnuTar(t, root), "-o", first}, {"pack", first, "-o", second}} {
		if out, err := unprivileged(t, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	results := boottest.Results(t, boottest.Run(t, boottest.Machine{Initrd: second}))
	if len(results) != 2 || results[0].Exit != 0 || !strings.Contains(results[1].Output, "\text4\n") {
		t.Errorf("%+v", results)
	}
}

// openDir is a temporary directory that every user may write to, as [testing.T]'s
// own is not.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kstage-test-") //nolint:usetesting // TempDir's parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}
