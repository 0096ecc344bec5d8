package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pieces writes a text in pieces of so many bytes.
func pieces(text string, size int) func(io.Writer) error {
	return func(w io.Writer) error {
		for text := text; text != ""; {
			n, err := io.WriteString(w, text[:min(size, len(text))])
			if err != nil {
				return err
			}
			text = text[n:]
		}
		return nil
	}
}

// Whatever an old file has, afterwards the path has the new content; the file is another
// one only if that differs.
func TestUpdate(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000) // longer than what is compared at once
	changed := func(at int) string { return long[:at] + "X" + long[at+1:] }
	news := map[string]string{
		"same": long, "first": changed(0), "middle": changed(40000), "last": changed(len(long) - 1),
		"longer": long + "more", "shorter": long[:len(long)-1], "half": long[:16<<10], "empty": "",
	}
	for name, want := range news {
		for _, size := range []int{7, 4 << 10, 16 << 10, 1 << 20} {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := Write(path, 0o644, text(long)); err != nil {
				t.Fatal(err)
			}
			old, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			did, err := Update(path, 0o644, pieces(want, size))
			if err != nil || did != (want != long) {
				t.Errorf("%s, %d: changed %v, %v", name, size, did, err)
			}
			now, err := os.Stat(path)
			if err != nil || os.SameFile(old, now) != (want == long) {
				t.Errorf("%s, %d: the same file: %v, %v", name, size, err == nil && os.SameFile(old, now), err)
			}
			if got := content(t, path); got != want {
				t.Errorf("%s, %d: %d other bytes", name, size, len(got))
			}
			if got := names(t, dir); got != "f" {
				t.Errorf("%s, %d: directory holds %q", name, size, got)
			}
		}
	}
}

// What Write would not have made is replaced, also if the content is the same.
func TestUpdateReplaces(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes, and links need rights")
	}
	for name, make := range map[string]func(path string) error{
		"nothing":    func(string) error { return nil },
		"other mode": func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) },
		"link": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", []byte("text"), 0o644), os.Symlink("f2", path))
		},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		did, err := Update(path, 0o644, pieces("text", 9))
		if err != nil || !did {
			t.Errorf("%s: changed %v, %v", name, did, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o644 || content(t, path) != "text" {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// A failure leaves the old file, before and after something else than that was written.
func TestUpdateFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, written := range []string{"", "ol", "new", "old and more"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := Write(path, 0, text("old")); err != nil {
			t.Fatal(err)
		}
		did, err := Update(path, 0, func(w io.Writer) error {
			_, err := io.WriteString(w, written)
			return errors.Join(err, boom)
		})
		if did || !errors.Is(err, boom) {
			t.Errorf("%q: changed %v, %v", written, did, err)
		}
		if got := content(t, path); got != "old" {
			t.Errorf("%q: the file now holds %q", written, got)
		}
		if got := names(t, dir); got != "f" {
			t.Errorf("%q: directory holds %q", written, got)
		}
	}
}

// Somebody who writes into the old file while it is compared spoils nothing.
func TestUpdateMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Write(path, 0, text("old one")); err != nil {
		t.Fatal(err)
	}
	_, err := Update(path, 0, func(w io.Writer) error {
		if _, err := io.WriteString(w, "old "); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte("bad two"), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil { // the clock may not have ticked
			return err
		}
		_, err := io.WriteString(w, "new")
		return err
	})
	if !errors.Is(err, errMeanwhile) {
		t.Errorf("%v, and the file has %q", err, content(t, path))
	}
}
