//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	tests := []struct{ perm, want fs.FileMode }{
		{0o644, 0o644}, // exact, whatever the umask
		{0o600, 0o600},
		{0, 0o640}, // as the umask says
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "f")
		if err := Write(path, tt.perm, text("x")); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != tt.want {
			t.Errorf("perm %o gives mode %o, want %o", tt.perm, fi.Mode(), tt.want)
		}
	}
}

func TestSymlinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("keep"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"target", "nowhere"} {
		os.Remove(link)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		if err := Write(link, 0, text("new")); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Lstat(link); err != nil || !fi.Mode().IsRegular() {
			t.Errorf("link to %s: %v, %v", to, fi.Mode(), err)
		}
	}
	if got := content(t, target); got != "keep" {
		t.Errorf("the link's target now holds %q", got)
	}
}

func TestDevicesAndPipesAreRefused(t *testing.T) {
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link} {
		err := Write(path, 0, text("x"))
		if err == nil || !strings.HasSuffix(err.Error(), "is not a regular file") {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if got := names(t, dir); got != "fifo link" {
		t.Errorf("directory holds %q", got)
	}
}
