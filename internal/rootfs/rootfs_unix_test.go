//go:build unix

package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
