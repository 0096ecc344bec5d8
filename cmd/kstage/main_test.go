package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kstage/kstage/internal/imagetest"
	"github.com/kstage/kstage/internal/kotest"
)

func TestMain(m *testing.M) {
	if _, set := os.LookupEnv(cacheVariable); !set { // that of whoever runs the tests is not for them
		if err := os.Setenv(cacheVariable, "off"); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"kstage": main, "depmod": main, "modinfo": main})
}

// TestScripts runs every promise of the README, and what happens when a promise
// cannot be kept. $TESTDATA is the project's testdata; the extra commands are
//
//	ko FILE…        makes FILE from the text form in FILE.txt
//	image FILE…     likewise an initrd, see imagetest
//	dtb FILE…       likewise a device tree, see deviceTree
//	kernel FILE A   makes the header of a flat kernel for riscv64, riscv32 or arm64
//	damage FILE N   turns over the bits of byte N
//	cut FILE N      leaves the first N bytes
//	nul FILE        ends its strings with NUL instead of newline
//	same A B        demands equal files
//	stamps DIR FILE writes what DIR holds into FILE: names, times, sizes
//	status N CMD…   runs a command and demands its exit status
//
// and the condition [root] tells whether the user is root.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

// TestLabScripts runs those that need real kernels. $OOT are modules whose fate is
// known, $K61 is a small kernel with $MAP61, $KERNEL and $CONFIG are the lab's, as are $TREE,
// the root of the modules of $VERSION, and $DEPMOD34, kmod's depmod.
func TestLabScripts(t *testing.T) {
	shared, lab := kotest.LabShared(t), kotest.Lab(t)
	systemMap := filepath.Join(t.TempDir(), "System.map")
	if err := os.WriteFile(systemMap, kotest.LabSharedFile(t, "k61/System.map.zst"), 0o644); err != nil {
		t.Fatal(err)
	}
	runScripts(t, "testdata/labscript", map[string]string{
		"OOT": filepath.Join(shared, "oot"), "K61": filepath.Join(shared, "k61"), "MAP61": systemMap,
		"KERNEL": filepath.Join(lab, "vmlinux"), "CONFIG": filepath.Join(lab, "config"),
		"TREE": kotest.LabTree(t, "plain"), "VERSION": kotest.LabVersion(t), "DEPMOD34": filepath.Join(lab, "depmod-34"),
	})
}

func runScripts(t *testing.T, dir string, variables map[string]string) {
	testdata, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Getuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("TESTDATA", testdata)
			env.Setenv(cacheVariable, "off")
			for name, value := range variables {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ko": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					b, err := kotest.File(name, ts.ReadFile(name+".txt"))
					ts.Check(err)
					ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o644))
					ts.Check(os.Remove(ts.MkAbs(name + ".txt")))
				}
			},
			"image": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					b, err := imagetest.Image(ts.ReadFile(name + ".txt"))
					ts.Check(err)
					ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o644))
				}
			},
			"dtb": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					ts.Check(os.WriteFile(ts.MkAbs(name), deviceTree(ts.ReadFile(name+".txt")), 0o644))
				}
			},
			"kernel": func(ts *testscript.TestScript, _ bool, args []string) {
				b, err := kernelHeader(args[0], args[1])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
			},
			"damage": edit(func(b []byte, n int) []byte { b[n] = ^b[n]; return b }),
			"cut":    edit(func(b []byte, n int) []byte { return b[:n] }),
			"nul": func(ts *testscript.TestScript, _ bool, args []string) {
				text := strings.ReplaceAll(ts.ReadFile(args[0]), "\n", "\x00")
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
			},
			"stamps": func(ts *testscript.TestScript, _ bool, args []string) {
				text, err := stamps(ts.MkAbs(args[0]))
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
			},
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = strconv.Itoa(exit.ExitCode())
				} else {
					ts.Check(err)
				}
				if got != args[0] {
					ts.Fatalf("the exit status is %s, not %s", got, args[0])
				}
			},
			"same": func(ts *testscript.TestScript, neg bool, args []string) {
				if equal := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); equal == neg {
					ts.Fatalf("equal: %v", equal)
				}
			},
		},
	})
}

// stamps lists all that lies in a directory, with its mode, size and times.
func stamps(dir string) (string, error) {
	var text strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&text, name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	return text.String(), err
}

// kernelHeader makes what a flat kernel begins with (Documentation/arch/riscv/
// boot-image-header.rst and arm64/booting.rst), packed if its name ends in .gz.
func kernelHeader(name, arch string) ([]byte, error) {
	kinds := map[string]struct {
		offset uint64
		magic  string
	}{"riscv64": {2 << 20, "RSC\x05"}, "riscv32": {4 << 20, "RSC\x05"}, "arm64": {0, "ARM\x64"}}
	kind, known := kinds[arch]
	if !known {
		return nil, fmt.Errorf("no kernel for %q", arch)
	}
	b := make([]byte, 64)
	binary.LittleEndian.PutUint64(b[8:], kind.offset)
	copy(b[56:], kind.magic)
	if strings.HasSuffix(name, ".gz") {
		b = kotest.Gzip(b)
	}
	return b, nil
}

// edit makes a script command that changes a file at a place.
func edit(change func([]byte, int) []byte) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		var n byteSize
		ts.Check(n.Set(args[1]))
		b := []byte(ts.ReadFile(args[0]))
		if int(n) >= len(b) {
			ts.Fatalf("%s has only %d bytes", args[0], len(b))
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), change(b, int(n)), 0o644))
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "512K": 512 << 10, "64M": 64 << 20, "64MiB": 64 << 20, "2g": 2 << 30, "1T": 1 << 40} {
		var b byteSize
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%s: %d, %v; want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "K", "1X", "1.5M", "5 M", "99999999999T"} {
		var b byteSize
		if err := b.Set(text); err == nil || !strings.Contains(err.Error(), "is not a size") {
			t.Errorf("%q: %d, %v", text, b, err)
		}
	}
}

// A call makes its command and no other, where that does not tell about the others.
func TestCommands(t *testing.T) {
	u := newUI(io.Discard, io.Discard)
	for _, c := range commands {
		if name := c.make(u).Name(); name != c.name {
			t.Errorf("%s makes %s", c.name, name)
		}
		made, want := newRootFor(u, []string{c.name}).Commands(), 1
		if c.name == "completion" || c.name == "man" {
			want = len(commands)
		}
		if len(made) != want {
			t.Errorf("%s: %d commands, not %d", c.name, len(made), want)
		}
	}
	for _, args := range [][]string{nil, {"help"}, {"--version"}, {"__complete", "de"}, {"depmodd"}, {"--json", "depmod"}} {
		if n := len(newRootFor(u, args).Commands()); n != len(commands) {
			t.Errorf("%q: %d commands, not %d", args, n, len(commands))
		}
	}
}
