package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHandle: what is asked directly is answered as what goes through package unix.
func TestHandle(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dir", "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dir", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", unix.NAME_MAX+1)
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, local := range []bool{false, true} {
		top := handle{int(f.Fd()), local}
		for name, want := range map[string]error{"dir": nil, "gone": unix.ENOENT, "file": unix.ENOTDIR, "link": unix.ENOTDIR,
			"dir\x00": unix.EINVAL, long: unix.ENAMETOOLONG} {
			below, err := top.open(name)
			if !errors.Is(err, want) {
				t.Errorf("local %v: opening %.9q: %v, not %v", local, name, err, want)
			}
			if err != nil {
				continue
			}
			var room dirRoom
			if n, err := below.list(&room); err != nil || count(room[:n]) != 1 {
				t.Errorf("local %v: list: %d bytes, %v", local, n, err)
			}
			if err := below.close(); err != nil {
				t.Errorf("local %v: close: %v", local, err)
			}
			if err := below.close(); !errors.Is(err, unix.EBADF) {
				t.Errorf("local %v: closed twice: %v", local, err)
			}
		}
		for name, want := range map[string]error{"file": nil, "gone": unix.ENOENT, "file\x00": unix.EINVAL, long: unix.ENAMETOOLONG} {
			var stat unix.Stat_t
			if err := top.stat(name, &stat); !errors.Is(err, want) || err == nil && stat.Size != 4 {
				t.Errorf("local %v: %.9q: %v, not %v; %d bytes", local, name, err, want, stat.Size)
			}
		}
		var stat unix.Stat_t
		if err := top.stat("link", &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Errorf("local %v: a link: mode %o, %v", local, stat.Mode, err)
		}
	}
}
