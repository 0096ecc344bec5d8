//go:build linux

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
)

// program builds kstage once, at a place where every user can run it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kstage-test-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kstage")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
})

// TestStart: what the program makes before it knows what is wanted is little; a run of
// depmod -A takes hardly longer than the start.
func TestStart(t *testing.T) {
	cmd := unprivileged(t, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	packages, allocations := 0, 0
	for line := range strings.Lines(trace.String()) {
		var name, number string
		if _, rest, ok := strings.Cut(line, " clock, "); ok {
			name = strings.Fields(line)[1]
			number = strings.Fields(rest)[2]
		}
		if name != "main" && !strings.HasPrefix(name, "github.com/kstage/") {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		packages, allocations = packages+1, allocations+n
	}
	if packages < 5 || allocations > 400 {
		t.Errorf("%d allocations in %d packages:\n%s", allocations, packages, trace.String())
	}
}

const nobody = 65534

// unprivileged is a call of kstage by a user who is not root.
func unprivileged(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = openDir(t)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// TestReproducible packs one tree in many ways and wants one sum for each
// compression.
func TestReproducible(t *testing.T) {
	from, err := filepath.Abs("../../testdata/initrd-rv64")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(openDir(t), "a much longer way to go")
	copyReversed(t, from, elsewhere)
	for _, c := range []string{"none", "gzip", "zstd", "zstd:19", "xz", "lz4"} {
		sums := make(map[string]string)
		for name, how := range map[string]struct {
			root, umask string
			env         []string
		}{
			"here":                {from, "022", nil},
			"another place":       {elsewhere, "022", nil},
			"another umask":       {from, "077", nil},
			"another zone, clock": {from, "022", []string{"TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8"}},
			"one core":            {elsewhere, "022", []string{"GOMAXPROCS=1"}},
			"many cores":          {from, "000", []string{"GOMAXPROCS=16"}},
		} {
			image := filepath.Join(openDir(t), "x.img")
			cmd := unprivileged(t, "pack", how.root, "-c", c, "-o", image)
			cmd.Args = append([]string{"sh", "-c", "umask " + how.umask + `; exec "$0" "$@"`}, cmd.Args...)
			cmd.Path = "/bin/sh"
			cmd.Env = append(os.Environ(), how.env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			sums[fmt.Sprintf("%x", sha256.Sum256(b))] += name + "; "
		}
		if len(sums) != 1 {
			t.Errorf("-c %s gives %d images: %v", c, len(sums), sums)
		}
	}
}

// copyReversed copies a tree, making the files in reverse order, so that the
// file system lists them in another one.
func copyReversed(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o755)
	}
	for i := len(entries) - 1; i >= 0 && err == nil; i-- {
		a, b := filepath.Join(from, entries[i].Name()), filepath.Join(to, entries[i].Name())
		if entries[i].IsDir() {
			copyReversed(t, a, b)
			continue
		}
		var data []byte
		var info fs.FileInfo
		if data, err = os.ReadFile(a); err == nil {
			info, err = os.Stat(a)
		}
		if err == nil {
			err = errors.Join(os.WriteFile(b, data, 0o600), os.Chmod(b, info.Mode()))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoRoom: where the image does not fit, the exit status is 1, the message
// says why, and nothing is left behind.
func TestNoRoom(t *testing.T) {
	root := openDir(t)
	if err := os.WriteFile(filepath.Join(root, "large"), []byte(strings.Repeat("x", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("file size limit", func(t *testing.T) {
		out := openDir(t)
		cmd := unprivileged(t, "pack", root, "-c", "none", "-o", filepath.Join(out, "x.cpio"))
		cmd.Args = append([]string{"sh", "-c", `ulimit -f 64; exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = "/bin/sh"
		failsCleanly(t, cmd, out, "file too large")
	})
	t.Run("full pipe end", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		cmd := unprivileged(t, "pack", root, "-o", "-")
		cmd.Stdout = full
		failsCleanly(t, cmd, openDir(t), "no space left on device")
	})
	t.Run("full disk", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can mount a small disk")
		}
		disk := openDir(t)
		if err := syscall.Mount("none", disk, "tmpfs", 0, "size=64k,mode=777"); err != nil {
			t.Fatal(err)
		}
		defer syscall.Unmount(disk, 0)
		failsCleanly(t, unprivileged(t, "pack", root, "-c", "none", "-o", filepath.Join(disk, "x.cpio")), disk, "no space left on device")
	})
}

// failsCleanly wants exit status 1, the text on stderr and an empty directory.
func failsCleanly(t *testing.T, cmd *exec.Cmd, dir, text string) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), text) {
		t.Errorf("%q does not say %q", &stderr, text)
	}
	wantEmpty(t, dir)
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left behind", e.Name())
	}
}

// TestInterrupt: Ctrl-C in the middle of the work.
func TestInterrupt(t *testing.T) {
	root := openDir(t)
	f, err := os.Create(filepath.Join(root, "large"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(3<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	out := openDir(t)
	cmd := unprivileged(t, "pack", root, "-o", filepath.Join(out, "x.cpio.gz"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := false; !begun; time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		begun = len(entries) > 0
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("%q", &stderr)
	}
	wantEmpty(t, out)
}

// TestUnreadable: a file that the user may not read is named, and there is no
// image without it.
func TestUnreadable(t *testing.T) {
	root := kotest.Dir(t, map[string]string{"etc/shadow": "secret", "init": ""})
	for dir := root; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "etc/shadow"), 0); err != nil {
		t.Fatal(err)
	}
	out := openDir(t)
	failsCleanly(t, unprivileged(t, "pack", root, "-o", filepath.Join(out, "x.cpio.gz")), out, "etc/shadow: permission denied")
}
