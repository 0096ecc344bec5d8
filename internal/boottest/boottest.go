// Package boottest boots initramfs images in qemu-system-riscv64 and returns
// what stood on the console. Only tests use it.
//
// A test fills a directory (AddInit, AddBusybox, AddKmod, AddModules), has it
// packed, boots the image with Run and looks at Results:
//
//	dir := t.TempDir()
//	boottest.AddInit(t, dir, "busybox modprobe ext4", "cat /proc/filesystems")
//	boottest.AddBusybox(t, dir)
//	boottest.AddModules(t, dir, "ext4")
//	// … index the modules, pack dir into image …
//	console := boottest.Run(t, boottest.Machine{Initrd: image})
//	for _, r := range boottest.Results(t, console) { … }
//
// What it needs and does not find (qemu, the lab of [kotest.Lab]) skips the test
// with one line, but fails it where CI is "true": there nothing may be missing.
package boottest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
)

// Machine is a riscv64 machine of qemu's kind "virt" with one hart: with two,
// qemu 7.2 hangs now and then before the kernel's first word, and takes twice as
// long. The zero value of each field but Initrd is useful.
type Machine struct {
	Kernel  string        // path of the kernel image; default: the lab's Debian kernel
	Initrd  string        // path of the image to boot
	Append  string        // kernel parameters besides console=ttyS0 panic=-1
	Memory  string        // as qemu's -m takes it; default 512M
	Timeout time.Duration // after which the machine is stopped and the test failed; default three minutes
	Net     bool          // a virtio network card on the MMIO bus, and behind it a network of qemu's own
	Disk    string        // path of a raw image that becomes a virtio disk on the MMIO bus; never written to
}

// Run boots m, waits until it powers off or panics, and returns everything it
// printed, with \n at the end of lines. It fails the test, showing the console,
// when the machine does neither before the timeout.
func Run(t testing.TB, m Machine) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-riscv64")
	if err != nil {
		skip(t, "qemu-system-riscv64 is not installed")
	}
	if m.Kernel == "" {
		m.Kernel = filepath.Join(kotest.Lab(t), "vmlinux")
	}
	if m.Timeout == 0 {
		m.Timeout = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), m.Timeout)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, qemu, m.args()...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	console := strings.ReplaceAll(out.String(), "\r\n", "\n")
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		t.Fatalf("still running after %v; the console:\n%s", m.Timeout, console)
	case err != nil:
		t.Fatalf("%v\n%s", err, console)
	}
	return console
}

func (m Machine) args() []string {
	memory := m.Memory
	if memory == "" {
		memory = "512M"
	}
	args := []string{
		"-M", "virt", "-m", memory, "-nographic", "-no-reboot",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", strings.TrimSpace("console=ttyS0 panic=-1 " + m.Append),
	}
	if m.Net {
		args = append(args, "-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0")
	}
	if m.Disk != "" {
		// A comma in a path would begin the next option; qemu reads two as one.
		file := strings.ReplaceAll(m.Disk, ",", ",,")
		args = append(args, "-drive", "if=none,id=d0,format=raw,snapshot=on,file="+file,
			"-device", "virtio-blk-device,drive=d0")
	}
	return args
}

// skip skips the test for want of something, or fails it where CI=true.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
