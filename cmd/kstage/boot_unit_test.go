package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBootWithoutQEMU(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("ProgramFiles", t.TempDir())
	var stdout, stderr bytes.Buffer
	if got := run([]string{"boot", t.TempDir()}, &stdout, &stderr); got != exitFailed {
		t.Errorf("exit status %d", got)
	}
	if text := stderr.String(); !strings.Contains(text, "error: qemu-system-riscv64 is not installed, or not in PATH\n  hint: ") {
		t.Errorf("it says %s", text)
	}
}

func TestQEMUHint(t *testing.T) {
	for _, tt := range []struct{ goos, release, want string }{
		{"linux", "NAME=\"Debian GNU/Linux\"\nID=debian\n", "apt install qemu-system-riscv opensbi"},
		{"linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt install"},
		{"linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install"},
		{"linux", "ID=arch\n", "pacman -S"},
		{"linux", "ID=alpine\n", "apk add"},
		{"linux", "ID='opensuse-leap'\nID_LIKE='suse opensuse'\n", "zypper install"},
		{"linux", "", "is called qemu-system-riscv,"},
		{"darwin", "", "brew install qemu"},
		{"windows", "", "winget install"},
		{"freebsd", "", "pkg install qemu"},
	} {
		if got := qemuHint(tt.goos, tt.release); !strings.Contains(got, tt.want) {
			t.Errorf("%s, %q: %s", tt.goos, tt.release, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		typed []string // as they come
		sent  string
		end   error
	}{
		{[]string{"ls\r"}, "ls\r", nil},
		{[]string{"a\x03b"}, "", errInterrupted},
		{[]string{"\x01x"}, "", errQuit},
		{[]string{"a", "\x01", "x"}, "a", errQuit},
		{[]string{"\x01\x01x"}, "\x01x", nil},
		{[]string{"\x01", "\x03ls"}, "\x03ls", nil},
	} {
		var sent strings.Builder
		err := relay(&sent, &pieces{tt.typed}, new(keys))
		if !errors.Is(err, tt.end) || sent.String() != tt.sent {
			t.Errorf("%q: sent %q, %v", tt.typed, &sent, err)
		}
	}
}

// pieces is a reader of which each read gives one.
type pieces struct{ all []string }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.all) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.all[0])
	p.all = p.all[1:]
	return n, nil
}

// A console comes in pieces of any size, and may do so forever.
func TestConsole(t *testing.T) {
	const text = "OpenSBI\r\n[    0.1] one\r\n[    0.2] Kernel panic - not syncing: VFS: no root\r\n\x1b[1mlog\x1b[0min: "
	for size := 1; size < len(text); size++ {
		var stops []error
		c := &console{expect: "login:", known: map[string]*said{}, stop: func(err error) { stops = append(stops, err) }}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := c.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		c.finish()
		if len(stops) != 2 || stops[0] != errPanic || stops[1] != errExpected || c.panicked != "VFS: no root" || !c.spoke {
			t.Fatalf("in pieces of %d: %v, %q, %q", size, stops, c.panicked, c.met)
		}
		if len(c.last) != 4 || c.last[1] != "[    0.1] one" || c.last[3] != "login: " {
			t.Fatalf("in pieces of %d: %q", size, c.last)
		}
	}
}

func TestConsoleIsBounded(t *testing.T) {
	c := &console{known: map[string]*said{}, stop: func(error) {}}
	for range 100 {
		if _, err := c.Write(bytes.Repeat([]byte("x"), 32<<10)); err != nil {
			t.Fatal(err)
		}
	}
	kept := len(c.line)
	for _, line := range c.last {
		kept += len(line)
	}
	if most := (lastLines + 1) * (maxLogLine + 32<<10); kept > most || cap(c.line) > 2*most {
		t.Errorf("%d bytes are kept, room for %d in the last line", kept, cap(c.line))
	}
}

func TestTreeKernels(t *testing.T) {
	for _, tt := range []struct{ files, want string }{
		{"boot/Image", "boot/Image"},
		{"boot/vmlinuz-6.1 boot/vmlinuz-6.2", "boot/vmlinuz-6.1 boot/vmlinuz-6.2"},
		{"boot/vmlinuz-6.1 boot/Image boot/vmlinuz-6.2 lib/modules/6.2/x", "boot/vmlinuz-6.2"},
		{"boot/vmlinux-6.1 boot/vmlinuz-6.1 lib/modules/6.1/x", "boot/vmlinux-6.1"},
		{"lib/modules/6.1/vmlinuz usr/x", "lib/modules/6.1/vmlinuz"},
		{"lib/modules/6.1/vmlinuz lib/modules/6.2/Image", "lib/modules/6.1/vmlinuz lib/modules/6.2/Image"},
		{"boot/Image lib/modules/6.1/x lib/modules/6.2/x", "boot/Image"},
		{"init boot/initrd.img", ""},
	} {
		root := fstest.MapFS{}
		for _, name := range strings.Fields(tt.files) {
			root[name] = &fstest.MapFile{}
		}
		names, err := treeKernels(root)
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.files, got, err, tt.want)
		}
	}
}
