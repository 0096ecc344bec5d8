//go:build unix

package boottest

import (
	"cmp"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
)

// The images here are made with kmod's depmod and GNU cpio: what is tested is
// the machinery that the tests of kstage's own images stand on.

// tools are the two programs that can load a module with all it needs.
var tools = []struct {
	name, modprobe string
	add            func(testing.TB, string)
}{
	{"busybox", "busybox modprobe", AddBusybox},
	{"kmod", "modprobe", AddKmod},
}

func TestModprobe(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			dir := t.TempDir()
			AddInit(t, dir,
				tool.modprobe+" ext4",
				"cat /proc/filesystems",
				tool.modprobe+" no_such_module")
			tool.add(t, dir)
			release := AddModules(t, dir, "ext4")
			results := boot(t, Machine{Initrd: pack(t, dir, release)}, 3)
			fails(t, results[:2])
			if !strings.Contains(results[1].Output, "\text4\n") {
				t.Errorf("no ext4 in /proc/filesystems:\n%s", results[1].Output)
			}
			if results[2].Exit == 0 {
				t.Errorf("a module that is not there was loaded:\n%s", results[2].Output)
			}
		})
	}
}

// A network card and a disk on the MMIO bus take two steps: the device tree
// names virtio_mmio, and what that finds names the drivers.
func TestModalias(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			dir := t.TempDir()
			AddInit(t, dir,
				"ls /sys/class/net",
				"modprobe-bymodalias "+tool.modprobe,
				"wait-for /sys/class/net/eth0",
				"wait-for /dev/vda")
			tool.add(t, dir)
			release := AddModules(t, dir, "virtio_mmio", "virtio_net", "virtio_blk")
			m := Machine{Initrd: pack(t, dir, release), Net: true}
			m.Disk = m.Initrd // some file of some size
			results := boot(t, m, 4)
			if strings.Contains(results[0].Output, "eth0") {
				t.Errorf("eth0 is there without its driver:\n%s", results[0].Output)
			}
			fails(t, results)
		})
	}
}

// The verbs of the init, and the exit of each when it fails.
func TestVerbs(t *testing.T) {
	dir := t.TempDir()
	commands := []string{
		"insmod /lib/modules/RELEASE/kernel/drivers/block/loop.ko.xz 4",
		"insmod /lib/modules/RELEASE/kernel/drivers/block/loop.ko.xz 4", // EEXIST
		"rmmod loop",
		"rmmod loop",           // ENOENT
		"insmod /etc/boottest", // ENOEXEC
		"insmod /nowhere",      // ENOENT
		"cat /etc/boottest /nowhere",
		"ls /nowhere",
		"wait-for /nowhere 0",
		"wait-for /init 0",
		"modprobe-bymodalias no_such_program",
		"no_such_program",
		"busybox sh -c kill$IFS$$",
	}
	exits := []int{0, 17, 0, 2, 8, 2, 1, 1, 1, 0, 1, 127, 128 + 15}
	release := AddModules(t, dir, "loop")
	for i, c := range commands {
		commands[i] = strings.Replace(c, "RELEASE", release, 1)
	}
	AddInit(t, dir, commands...)
	AddBusybox(t, dir)
	results := boot(t, Machine{Initrd: pack(t, dir, release), Append: "quiet"}, len(commands))
	for i, r := range results {
		if r.Command != commands[i] || r.Exit != exits[i] {
			t.Errorf("%s: exit %d\n%s\nwant %s: exit %d", r.Command, r.Exit, r.Output, commands[i], exits[i])
		}
	}
	script := strings.Join(commands, "\n") + "\n"
	if got := results[6].Output; !strings.HasPrefix(got, script) {
		t.Errorf("cat printed\n%s\nwant\n%s", got, script)
	}
}

// How a boot can end, with programs that stand in for qemu.
func TestBoot(t *testing.T) {
	const long, short = time.Minute, 2 * time.Second
	const kernel = `printf 'OpenSBI\r\n[    0.000000] Linux\r\n'; `
	tests := []struct {
		name, script     string
		timeout, silence time.Duration
		console, err     string
	}{
		{"powers off", kernel, long, long, "OpenSBI\n[    0.000000] Linux\n", ""},
		{"qemu fails", "echo no >&2; exit 3", long, long, "no\n", "exit status 3"},
		{"hangs", kernel + "exec sleep 60", short, long, "OpenSBI\n[    0.000000] Linux\n", "still running after 2s"},
		{"never speaks", "echo OpenSBI; exec sleep 60", long, short, "OpenSBI\n", errSilent.Error()},
		{"speaks in time", kernel + "sleep 3", long, short, "OpenSBI\n[    0.000000] Linux\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			qemu := filepath.Join(t.TempDir(), "qemu")
			writeFile(t, qemu, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755)
			t.Parallel() // not before: a script that some fork still holds open cannot be run
			console, err := Machine{Timeout: tt.timeout}.boot(t, qemu, tt.silence)
			if console != tt.console || fmt.Sprint(err) != cmp.Or(tt.err, "<nil>") {
				t.Errorf("console %q, error %v\nwant %q, %s", console, err, tt.console, tt.err)
			}
		})
	}
}

func TestResults(t *testing.T) {
	console := "OpenSBI\n[    0.000000] Linux\n[    1.000000] boottest: start\n" +
		"[    1.100000] out\n[    1.200000] boottest: a b: exit 0\n" +
		"[    1.300000] boottest: c: exit 12\n[   12.300000] boottest: done\n"
	want := []Result{{"a b", 0, "out\n"}, {"c", 12, ""}}
	if got := Results(t, console); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// pack indexes the modules below dir with kmod's depmod, packs dir with GNU
// cpio, and returns the image.
func pack(t *testing.T, dir, release string) string {
	t.Helper()
	depmod := exec.Command(filepath.Join(kotest.Lab(t), "depmod-34"), "-b", dir, release)
	if out, err := depmod.CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	return Pack(t, dir)
}

// boot returns the results of a machine whose init has n commands.
func boot(t *testing.T, m Machine, n int) []Result {
	t.Helper()
	console := Run(t, m)
	results := Results(t, console)
	if len(results) != n {
		t.Fatalf("%d commands ran, not %d; the console:\n%s", len(results), n, console)
	}
	return results
}

// fails reports the commands whose exit is not 0.
func fails(t *testing.T, results []Result) {
	t.Helper()
	for _, r := range results {
		if r.Exit != 0 {
			t.Errorf("%s: exit %d\n%s", r.Command, r.Exit, r.Output)
		}
	}
}
