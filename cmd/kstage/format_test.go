//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
)

// TestUBoot: U-Boot takes each of the formats, checks its sums, and the kernel
// unpacks what is in it. The device tree of the FIT is used in place: qemu's
// U-Boot sets fdt_high.
func TestUBoot(t *testing.T) {
	root := openDir(t)
	boottest.AddInit(t, root, "cat /etc/boottest")
	dtb := filepath.Join(openDir(t), "virt.dtb")
	boottest.DeviceTree(t, boottest.Machine{}, dtb)
	kernel := filepath.Join(kotest.Lab(t), "vmlinux")
	for _, tt := range []struct {
		name    string
		args    []string
		command string
		said    string
		times   int
	}{
		{"uimage", []string{"--format", "uimage"},
			"booti " + boottest.KernelAddr + " " + boottest.ImageAddr + " $fdtcontroladdr", "Verifying Checksum ... OK", 1},
		{"fit", []string{"--format", "fit"},
			"booti " + boottest.KernelAddr + " " + boottest.ImageAddr + " $fdtcontroladdr", "sha256+ OK", 1},
		{"fit with all", []string{"--format", "fit", "--fit-kernel", kernel, "--fit-dtb", dtb, "--fit-load", "0x80200000"},
			"bootm " + boottest.ImageAddr, "sha256+ OK", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := filepath.Join(openDir(t), "image")
			var stderr strings.Builder
			if exit := run(append([]string{"pack", root, "-o", image}, tt.args...), io.Discard, &stderr); exit != exitOK {
				t.Fatalf("exit status %d\n%s", exit, &stderr)
			}
			console := boottest.RunUBoot(t, boottest.UBoot{Image: image, Command: tt.command})
			results := boottest.Results(t, console)
			if len(results) != 1 || results[0].Exit != 0 || !strings.HasPrefix(results[0].Output, "cat /etc/boottest\n") {
				t.Errorf("%+v", results)
			}
			if n := strings.Count(console, tt.said); n != tt.times {
				t.Errorf("U-Boot said %q %d times:\n%s", tt.said, n, console)
			}
		})
	}
}

// TestFormatsReproducible: where the tree lies and what it is called does not
// show in the image, only its kernel does.
func TestFormatsReproducible(t *testing.T) {
	from, err := filepath.Abs("../../testdata/initrd-rv64")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(openDir(t), "by another name")
	copyReversed(t, from, elsewhere)
	for _, format := range []string{"uimage", "fit"} {
		sums := make(map[string]string)
		for _, root := range []string{from, elsewhere} {
			image := filepath.Join(openDir(t), "x.img")
			if out, err := unprivileged(t, "pack", root, "--format", format, "-o", image).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), "initrd 6.12.0-kstage\x00") {
				t.Errorf("%s: does not name its kernel", format)
			}
			sums[fmt.Sprintf("%x", sha256.Sum256(data))] += root + "; "
		}
		if len(sums) != 1 {
			t.Errorf("--format %s gives %d images: %v", format, len(sums), sums)
		}
	}
}

// TestFormatsNoRoom: a wrapped image needs room for the archive as well; where
// there is none, nothing is left behind.
func TestFormatsNoRoom(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	root := openDir(t)
	if err := os.WriteFile(filepath.Join(root, "large"), []byte(strings.Repeat("x", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"64k", "1536k"} { // less than the archive, and less than twice that
		disk := openDir(t)
		if err := syscall.Mount("none", disk, "tmpfs", 0, "mode=777,size="+size); err != nil {
			t.Fatal(err)
		}
		cmd := unprivileged(t, "pack", root, "-c", "none", "--format", "uimage", "-o", filepath.Join(disk, "x"))
		failsCleanly(t, cmd, disk, "no space left on device")
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}
}
