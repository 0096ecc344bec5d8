package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
)

func tree(t *testing.T) (*FS, string) {
	t.Helper()
	dir := t.TempDir()
	for i := range 20 {
		path := filepath.Join(dir, "tree", fmt.Sprintf("a%d", i), "b")
		if err := errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, "c"), []byte(path), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "secret"), nil, 0o644),
		os.Symlink("../a1/b/c", filepath.Join(dir, "tree/a0/inside")),
		os.Symlink("../../secret", filepath.Join(dir, "tree/a0/outside")),
		os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "tree/absolute")))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

func TestFS(t *testing.T) {
	f, _ := tree(t)
	sub, err := fs.Sub(f, "a1")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "b/c"); err != nil {
		t.Error(err)
	}
}

func TestLinksStayInside(t *testing.T) {
	f, _ := tree(t)
	if _, err := fs.ReadFile(f, "a0/inside"); err != nil {
		t.Errorf("a link to another directory of the tree: %v", err)
	}
	for _, name := range []string{"a0/outside", "absolute", "a0/../../secret", "../secret"} {
		if b, err := fs.ReadFile(f, name); err == nil {
			t.Errorf("%s leads out of the tree to %q", name, b)
		}
	}
	if target, err := f.ReadLink("a0/outside"); target != "../../secret" || err != nil {
		t.Errorf("ReadLink: %q, %v", target, err)
	}
	if info, err := f.Lstat("absolute"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat: %v, %v", info, err)
	}
	if _, err := f.Open("a0/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	f, dir := tree(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("a%d/b/c", (i*7+worker)%20)
				b, err := fs.ReadFile(f, name)
				if want := filepath.Join(dir, "tree", filepath.Dir(name)); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", name, b, err)
				}
			}
		})
	}
	wg.Wait()
}

// A name that is not UTF-8 opens like any other.
func TestNameOfBytes(t *testing.T) {
	dir := t.TempDir()
	const name = "d\xff\n/f\xfe"
	if err := os.Mkdir(filepath.Join(dir, "d\xff\n"), 0o755); err != nil {
		t.Skip("the file system does not take such names:", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if b, err := fs.ReadFile(root, name); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if list, err := root.ReadDir("d\xff\n"); err != nil || len(list) != 1 || list[0].Name() != "f\xfe" {
		t.Errorf("%v, %v", list, err)
	}
}
