package fileid_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kstage/kstage/internal/fileid"
)

// Same size, same time of modification: another content has another ID all the same.
func TestOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	when := time.Now().Add(-time.Hour)
	write := func(text string) (fileid.ID, bool) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fileid.Of(info)
	}
	first, ok := write("one")
	if known := runtime.GOOS != "windows"; ok != known {
		t.Fatalf("an ID: %v, not %v", ok, known)
	}
	time.Sleep(20 * time.Millisecond) // a clock of file systems ticks every 10 ms at least
	if second, ok := write("two"); ok && second == first {
		t.Error("the file was written anew, and has the same ID")
	}
	if ok && first.Settled(time.Now().UnixNano()) {
		t.Error("a file that was just written counts as settled")
	}
	if ok && !first.Settled(time.Now().Add(3*time.Second).UnixNano()) {
		t.Error("a file that was written three seconds before does not count as settled")
	}
}

func TestOfOthers(t *testing.T) {
	info, err := fstest.MapFS{"f": {Data: []byte("x")}}.Stat("f")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := fileid.Of(info); ok {
		t.Error("a file of no host has an ID")
	}
	if info, err = os.Stat(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, ok := fileid.Of(info); ok {
		t.Error("a directory has an ID")
	}
}
