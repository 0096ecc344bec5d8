package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func text(s string) func(*os.File) error {
	return func(f *os.File) error {
		_, err := io.WriteString(f, s)
		return err
	}
}

// names lists a directory, so that a forgotten temporary file shows.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return strings.Join(s, " ")
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteMakesAndReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, want := range []string{"one", "two, longer", ""} {
		if err := Write(path, 0o644, text(want)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	if got := names(t, dir); got != "f" {
		t.Errorf("directory holds %q", got)
	}
}

func TestFillCanReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	err := Write(path, 0, func(f *os.File) error {
		if _, err := f.WriteString("abc"); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		if string(b) != "abc" {
			t.Errorf("read back %q, %v", b, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOldFileIsSeenUntilTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Write(path, 0, text("old")); err != nil {
		t.Fatal(err)
	}
	err := Write(path, 0, func(f *os.File) error {
		if got := content(t, path); got != "old" {
			t.Errorf("while writing, the path holds %q", got)
		}
		if filepath.Dir(f.Name()) != filepath.Dir(path) {
			t.Errorf("temporary file %s lies elsewhere", f.Name())
		}
		return text("new")(f)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	tests := map[string]func(*os.File) error{
		"fill fails":       func(*os.File) error { return boom },
		"fill fails late":  func(f *os.File) error { f.WriteString("part"); return boom },
		"sync fails":       func(f *os.File) error { return f.Close() },
		"file is no more":  func(f *os.File) error { return os.Remove(f.Name()) },
		"fill closes, too": func(f *os.File) error { f.Close(); return boom },
	}
	for name, fill := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := Write(path, 0, text("old")); err != nil {
				t.Fatal(err)
			}
			if err := Write(path, 0, fill); err == nil {
				t.Error("no error")
			}
			if got := content(t, path); got != "old" {
				t.Errorf("the old file now holds %q", got)
			}
			if got := names(t, dir); got != "f" {
				t.Errorf("directory holds %q", got)
			}
		})
	}
}

func TestFillErrorComesBackUnchanged(t *testing.T) {
	boom := errors.New("boom")
	if err := Write(filepath.Join(t.TempDir(), "f"), 0, func(*os.File) error { return boom }); err != boom {
		t.Errorf("got %v", err)
	}
}

func TestPanicLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { recover() }()
		Write(filepath.Join(dir, "f"), 0, func(*os.File) error { panic("boom") })
	}()
	if got := names(t, dir); got != "" {
		t.Errorf("directory holds %q", got)
	}
}

func TestRefusedTargets(t *testing.T) {
	dir := t.TempDir()
	err := Write(dir, 0, text("x"))
	if err == nil || err.Error() != "create "+dir+": is a directory" {
		t.Errorf("directory: %v", err)
	}
	err = Write(filepath.Join(dir, "none", "f"), 0, text("x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("directory holds %q", got)
	}
}
