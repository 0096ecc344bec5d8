//go:build unix

package initrd

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// addRoot adds the directory dir as the commands do.
func addRoot(t testing.TB, tree *Tree, dir string) []Problem {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	problems, err := tree.AddFS(root.FS())
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestAddFSDirectory(t *testing.T) {
	dir := t.TempDir()
	at := func(p string) string { return filepath.Join(dir, p) }
	must(t,
		os.WriteFile(at("one"), []byte("12345"), 0o600),
		os.Link(at("one"), at("two")),
		os.Mkdir(at("d"), 0o700),
		os.Link(at("one"), at("d/three")),
		os.WriteFile(at("lone"), nil, 0o600),
		os.Symlink("../outside", at("escape")),
		os.Symlink("one", at("link")),
		syscall.Mkfifo(at("pipe"), 0o600),
		os.Chmod(at("one"), fs.ModeSetgid|0o751),
	)
	if l, err := net.Listen("unix", at("s")); err == nil { // the path may be too long
		defer l.Close()
	}
	var tree Tree
	problems := addRoot(t, &tree, dir)
	if len(problems) > 1 || len(problems) == 1 && (problems[0].Path != "s" || problems[0].Rule != "socket") {
		t.Errorf("problems %v", problems)
	}
	type seen struct {
		mode, nlink uint32
		data        string
	}
	want := map[string]seen{
		".":       {0o040755, 2, ""},
		"d":       {0o040700, 2, ""},
		"d/three": {0o102751, 3, ""},
		"escape":  {0o120777, 1, "../outside"},
		"link":    {0o120777, 1, "one"},
		"lone":    {0o100600, 1, ""},
		"one":     {0o102751, 3, ""},
		"pipe":    {0o010600, 1, ""},
		"two":     {0o102751, 3, "12345"},
	}
	got := items(t, imageOf(t, &tree, Options{}))
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	for _, it := range got {
		if s := (seen{it.mode, it.nlink, it.data}); s != want[it.name] {
			t.Errorf("%s: got %+v, want %+v", it.name, s, want[it.name])
		}
	}
}

// Two sources may use the same file numbers for files of their own.
func TestAddFSLinksStayWithinTheSource(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	must(t,
		os.WriteFile(filepath.Join(a, "a1"), []byte("a"), 0o600),
		os.Link(filepath.Join(a, "a1"), filepath.Join(a, "a2")),
		os.WriteFile(filepath.Join(b, "b1"), []byte("b"), 0o600),
		os.Link(filepath.Join(b, "b1"), filepath.Join(b, "b2")),
	)
	var tree Tree
	addRoot(t, &tree, a)
	addRoot(t, &tree, b)
	a1, _ := tree.Get("a1")
	a2, _ := tree.Get("a2")
	b1, _ := tree.Get("b1")
	if a1.Link == 0 || a1.Link != a2.Link || a1.Link == b1.Link {
		t.Errorf("links %d, %d and %d", a1.Link, a2.Link, b1.Link)
	}
}

func TestAddFSDeviceNumbers(t *testing.T) {
	fi, err := os.Stat("/dev/null")
	if err != nil || fi.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice {
		t.Skip("this host has no /dev/null")
	}
	st, ok := statOf(fi)
	if !ok {
		t.Fatal("the host's file information is not understood")
	}
	sys := fi.Sys().(*syscall.Stat_t)
	if st.id.ino != uint64(sys.Ino) || st.links == 0 {
		t.Errorf("got %+v", st)
	}
	if runtime.GOOS == "linux" && (st.major != 1 || st.minor != 3) {
		t.Errorf("/dev/null is %d:%d", st.major, st.minor)
	}
}

// A file that is too large is named, and long before any of it is read.
func TestAddFSHugeFile(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	must(t, err)
	err = f.Truncate(5 << 30)
	must(t, f.Close())
	if err != nil {
		t.Skip("no sparse files here:", err)
	}
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	_, err = new(Tree).AddFS(root.FS())
	if err == nil || !strings.HasPrefix(err.Error(), "tree: huge: 5368709120 bytes are too many") {
		t.Errorf("got %v", err)
	}
}

// A file that changes between AddFS and Write.
func TestAddFSFileChanges(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	for content, want := range map[string]string{
		"123":     "image: log: has 3 bytes, not the 5 it had when the tree was made",
		"1234567": "image: log: has more than the 5 bytes it had when the tree was made",
	} {
		must(t, os.WriteFile(path, []byte("12345"), 0o600))
		var tree Tree
		addRoot(t, &tree, dir)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		out := filepath.Join(t.TempDir(), "img")
		_, err := WriteFile(t.Context(), out, &tree, Options{})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
			t.Errorf("%v is left behind", left)
		}
	}
}
