//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
)

// bootReal is kstage boot with the real qemu and kernel. Where the kernel does not say
// a word (see boottest), it is tried again.
func bootReal(t *testing.T, want int, args ...string) bootReport {
	t.Helper()
	boottest.NeedQEMU(t)
	var stdout, stderr bytes.Buffer
	for range 3 {
		stdout.Reset()
		stderr.Reset()
		got := run(append([]string{"boot", "--json", "--timeout", "3m"}, args...), &stdout, &stderr)
		var report bootReport
		if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
			t.Fatalf("exit status %d, %v\n%s%s", got, err, &stdout, &stderr)
		}
		if report.Ended == "timeout" && !strings.Contains(strings.Join(report.Last, "\n"), "\n[") {
			t.Log("the kernel did not say a word; once more")
			continue
		}
		if got != want || stderr.Len() > 0 {
			t.Errorf("exit status %d, not %d\n%s%s", got, want, &stdout, &stderr)
		}
		return report
	}
	t.Fatalf("%s", &stdout)
	return bootReport{}
}

// TestBootCommand: from a directory with its kernel, packed so that qemu cannot read
// it, to a shell's prompt.
func TestBootCommand(t *testing.T) {
	root := t.TempDir()
	boottest.AddBusybox(t, root)
	script(t, filepath.Join(root, "init"), "#!/bin/busybox sh\necho welcome aboard\nexec /bin/busybox sh\n")
	kernel, err := os.ReadFile(filepath.Join(kotest.Lab(t), "vmlinux"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(kernel)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "boot/vmlinuz-"+kotest.LabVersion(t), packed.Bytes())
	report := bootReal(t, exitOK, root, "--expect", "~ #", "--memory", "256M")
	if !report.Met || report.Ended != "expected" || report.Format != "riscv64 Image, gzip" {
		t.Errorf("%+v", report)
	}
}

// TestBootPanic: an init that nothing can start.
func TestBootPanic(t *testing.T) {
	root := t.TempDir()
	script(t, filepath.Join(root, "init"), "#!/no/such/shell\n")
	report := bootReal(t, exitProblems, root, "--expect", "login:", "--kernel", filepath.Join(kotest.Lab(t), "vmlinux"))
	if report.Met || report.Ended != "panic" || !strings.Contains(report.Panic, "No working init found") || report.Meaning == "" {
		t.Errorf("%+v", report)
	}
}

// TestBootLoaderSays: the machine goes off without the text, and what the module
// loader said meanwhile is explained. It has a disk, and modules that find it.
func TestBootLoaderSays(t *testing.T) {
	root := t.TempDir()
	boottest.AddBusybox(t, root)
	boottest.AddModules(t, root, "virtio_mmio", "virtio_blk")
	boottest.AddInit(t, root, "busybox modprobe virtio_mmio", "busybox modprobe virtio_blk", "wait-for /sys/class/block/vda", "insmod /etc/bad.ko")
	disk := filepath.Join(t.TempDir(), "a,disk")
	write(t, filepath.Dir(disk), filepath.Base(disk), make([]byte, 1<<20))
	write(t, root, "etc/bad.ko", bytes.Repeat([]byte("no module "), 100))
	report := bootReal(t, exitProblems, root, "--expect", "login:", "--disk", disk, "--kernel", filepath.Join(kotest.Lab(t), "vmlinux"))
	if !strings.Contains(strings.Join(report.Last, "\n"), "boottest: wait-for /sys/class/block/vda: exit 0") {
		t.Errorf("there is no disk: %q", report.Last)
	}
	if report.Ended != "off" || len(report.Messages) == 0 || !strings.Contains(report.Messages[0].Text, "Invalid ELF header magic") {
		t.Errorf("%+v", report)
	}
}

func script(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
