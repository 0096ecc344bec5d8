//go:build unix

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kstage/kstage/internal/fileid"
)

// TestPipe: what was a file when the directory was listed may have become a pipe.
func TestPipe(t *testing.T) {
	f, dir := tree(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "tree/a0/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := f.Open("a0/pipe") // would wait for ever
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// TestDeep: the number of directories kept open has a bound, the depth has none.
func TestDeep(t *testing.T) {
	f, dir := tree(t)
	deep := strings.TrimPrefix(strings.Repeat("/d", 3*mostOpen), "/")
	if err := os.MkdirAll(filepath.Join(dir, "tree", deep), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := f.ReadDir(deep); err != nil {
			t.Error(err)
		}
	}
	if len(f.open) > mostOpen {
		t.Errorf("%d directories are open", len(f.open))
	}
}

// TestListing: entries say what package os says, of every kind of file.
func TestListing(t *testing.T) {
	f, dir := tree(t)
	at := filepath.Join(dir, "tree/a0")
	err := errors.Join(
		syscall.Mkfifo(filepath.Join(at, "pipe"), 0o640),
		os.WriteFile(filepath.Join(at, "program"), []byte("12345"), 0o755),
		os.Chmod(filepath.Join(at, "program"), os.ModeSetuid|os.ModeSetgid|os.ModeSticky|0o751),
		os.Chtimes(filepath.Join(at, "program"), time.Time{}, time.Unix(-5, 7)),
		os.WriteFile(filepath.Join(at, "later"), nil, 0o644),
		unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(at, "later"), []unix.Timespec{{}, {Sec: 13e9, Nsec: 5}}, 0), // in 2381, beyond what an int64 has of nanoseconds
		os.Mkdir(filepath.Join(at, "empty"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 { // more than one call of the kernel's
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%s-%d", strings.Repeat("long", 20), i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadDir("a0")
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d entries, not %d: %v", len(got), len(want), err)
	}
	for i, e := range got {
		x, errX := e.Info()
		y, errY := want[i].Info()
		if errX != nil || errY != nil {
			t.Fatal(errX, errY)
		}
		idX, okX := fileid.Of(x)
		idY, okY := fileid.Of(y)
		if e.Name() != want[i].Name() || e.Type() != want[i].Type() || x.Name() != y.Name() || x.Mode() != y.Mode() || x.Size() != y.Size() ||
			!x.ModTime().Equal(y.ModTime()) || x.IsDir() != y.IsDir() || idX != idY || okX != okY {
			t.Errorf("%v, not %v; mode %v, not %v", x, y, x.Mode(), y.Mode())
		}
		if x.Sys().(*syscall.Stat_t).Ino != y.Sys().(*syscall.Stat_t).Ino {
			t.Errorf("%s: another inode", e.Name())
		}
	}
}

// TestOpenDir: a directory leads to those in it, and through no link.
func TestOpenDir(t *testing.T) {
	f, dir := tree(t)
	if err := os.Symlink("../a1", filepath.Join(dir, "tree/a0/link")); err != nil {
		t.Fatal(err)
	}
	top, err := f.OpenDir("a0")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	in, err := top.OpenDir("b")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	list, err := in.ReadDir()
	if err != nil || len(list) != 1 || list[0].Name() != "c" {
		t.Errorf("%v, %v", list, err)
	}
	for _, name := range []string{"link", "missing"} {
		if d, err := top.OpenDir(name); err == nil {
			if _, err := d.ReadDir(); err == nil && runtime.GOOS == "linux" {
				t.Errorf("%s was opened", name)
			}
			d.Close()
		}
	}
}
