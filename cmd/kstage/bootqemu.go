package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const qemuName = "qemu-system-riscv64"

// findQEMU finds qemu; its installer for Windows leaves PATH alone.
func findQEMU() (string, error) {
	path, err := exec.LookPath(qemuName)
	if err != nil && runtime.GOOS == "windows" {
		path, err = exec.LookPath(filepath.Join(os.Getenv("ProgramFiles"), "qemu", qemuName+".exe"))
	}
	if err == nil || errors.Is(err, exec.ErrDot) {
		return path, err
	}
	release, _ := os.ReadFile("/etc/os-release") // without it the hint is a general one
	return "", withHint(fmt.Errorf("%s is not installed, or not in PATH", qemuName), qemuHint(runtime.GOOS, string(release)))
}

// qemuPackages tells how systems install qemu for riscv64, and the firmware that it
// starts a kernel with, by ID or ID_LIKE of /etc/os-release.
var qemuPackages = []struct{ system, command string }{
	{"debian", "apt install qemu-system-riscv opensbi; until Debian 12 and Ubuntu 24.04: apt install qemu-system-misc opensbi"},
	{"fedora", "dnf install qemu-system-riscv"},
	{"arch", "pacman -S qemu-system-riscv"},
	{"alpine", "apk add qemu-system-riscv64 opensbi"},
	{"suse", "zypper install qemu-extra"},
	{"opensuse", "zypper install qemu-extra"},
	{"darwin", "brew install qemu"},
	{"windows", "winget install SoftwareFreedomConservancy.QEMU"},
	{"freebsd", "pkg install qemu"},
}

// qemuHint tells how to get qemu on a system: what Go calls it, and for Linux the
// text of its os-release(5).
func qemuHint(goos, release string) string {
	systems := []string{goos}
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			systems = append(systems, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	for _, p := range qemuPackages {
		if slices.Contains(systems, p.system) {
			return p.command
		}
	}
	return "the package with qemu's riscv64 machine is called qemu-system-riscv, qemu-system-misc or qemu on most systems"
}

// bootCmdline is on every kernel's command line: the console of the machine, and no
// waiting after a panic.
const bootCmdline = "console=ttyS0 panic=-1"

// args is the call of qemu. One hart: it boots sooner than two, which hang now and
// then in qemu 7.2 before the kernel's first word.
func (b *booter) args(image string) []string {
	args := []string{
		"-M", "virt", "-smp", "1", "-m", fmt.Sprintf("%dK", int64(b.memory)>>10),
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", b.booted.path, "-initrd", image, "-append", strings.TrimSpace(bootCmdline + " " + b.cmdline),
	}
	if b.dtb != "" {
		args = append(args, "-dtb", b.dtb)
	}
	if b.disk != "" {
		format := "raw" // never left to qemu, which may be deceived by what is on the disk
		if string(beginning(b.disk, 4)) == "QFI\xfb" {
			format = "qcow2"
		}
		// a comma would begin the next option, two are one
		file := strings.ReplaceAll(b.disk, ",", ",,")
		args = append(args, "-drive", "if=none,id=disk,snapshot=on,format="+format+",file="+file, "-device", "virtio-blk-device,drive=disk")
	}
	return args
}

// qemuError is the error of a qemu that has ended by itself, with what it said.
func qemuError(err error, said string) error {
	said = strings.TrimSpace(strings.ReplaceAll(said, qemuName+": ", ""))
	if said == "" {
		return fmt.Errorf("%s: %w", qemuName, err)
	}
	hint := ""
	if strings.Contains(said, "firmware") {
		hint = "the firmware comes in a package called opensbi, or qemu-system-data"
	}
	return withHint(fmt.Errorf("%s: %w: %s", qemuName, err, said), hint)
}
