package initrd

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func dir(path string) Entry { return Entry{Path: path, Mode: fs.ModeDir | 0o700} }

func symlink(path, target string) Entry {
	return Entry{Path: path, Mode: fs.ModeSymlink, Target: target}
}

func empty(path string) Entry { return Entry{Path: path, Mode: 0o644} }

// paths lists a tree in order.
func paths(t *Tree) string {
	var all []string
	for e := range t.All() {
		all = append(all, e.Path)
	}
	return strings.Join(all, " ")
}

func TestZeroTree(t *testing.T) {
	var tree Tree
	if tree.Len() != 0 || paths(&tree) != "" || tree.Remove("a") || tree.Remove(".") {
		t.Error("the zero tree is not empty")
	}
	if _, ok := tree.Get("."); ok {
		t.Error("the zero tree has a root")
	}
	if got := items(t, imageOf(t, &tree, Options{})); len(got) != 0 {
		t.Errorf("the zero tree gives %v", got)
	}
}

func TestOrder(t *testing.T) {
	want := ". + - a a-b a.b a/b a/b/c a0 b"
	names := strings.Fields("a/b/c b a0 a.b a-b - + a/b")
	for range 20 {
		names = append(names[1:], names[0])
		tree := new(Tree)
		for _, p := range names {
			e := empty(p)
			if p == "a/b" {
				e = dir(p)
			}
			if err := tree.Put(e); err != nil {
				t.Fatal(err)
			}
		}
		if got := paths(tree); got != want {
			t.Fatalf("put in the order %q: got %q, want %q", names, got, want)
		}
		if tree.Len() != 10 {
			t.Errorf("length %d", tree.Len())
		}
	}
}

func TestLaterEntriesLieOver(t *testing.T) {
	tree := treeOf(t, empty("init"), empty("d/f"), dir("e"))
	over := []Entry{
		symlink("init", "bin/busybox"), // another type
		File("d/f", 0o600, []byte("x")),
		{Path: "d", Mode: fs.ModeDir | 0o711, UID: 7},
		{Path: ".", Mode: fs.ModeDir | 0o700},
		symlink("e", "d"), // in place of an empty directory
	}
	for _, e := range over {
		if err := tree.Put(e); err != nil {
			t.Error(err)
		}
		got, ok := tree.Get(e.Path)
		if !ok || got.Mode != e.Mode || got.UID != e.UID || got.Target != e.Target || got.Size != e.Size {
			t.Errorf("got %+v, want %+v", got, e)
		}
	}
	if got := paths(tree); got != ". d d/f e init" {
		t.Errorf("got %q", got)
	}
}

func TestPutErrors(t *testing.T) {
	tests := map[string]struct {
		before []Entry
		put    Entry
		want   string
	}{
		"below a link":     {[]Entry{symlink("lib", "usr/lib")}, empty("lib/modules/x"), "tree: lib/modules: lib is a symbolic link, not a directory"},
		"below a file":     {[]Entry{empty("a")}, empty("a/b"), "tree: a/b: a is a regular file, not a directory"},
		"dir over link":    {[]Entry{symlink("lib", "usr/lib")}, dir("lib"), "tree: lib: a directory cannot replace a symbolic link"},
		"dir over file":    {[]Entry{empty("a")}, dir("a"), "tree: a: a directory cannot replace a regular file"},
		"link over dir":    {[]Entry{empty("lib/x")}, symlink("lib", "usr/lib"), "tree: lib: a symbolic link cannot replace a directory"},
		"file as the root": {nil, empty("."), "tree: .: the root is a directory"},
		"socket":           {nil, Entry{Path: "s", Mode: fs.ModeSocket}, "tree: s: an image cannot hold a socket"},
		"irregular":        {nil, Entry{Path: "s", Mode: fs.ModeIrregular}, "tree: s: an image cannot hold a file of unknown type"},
		"no content":       {nil, Entry{Path: "f", Size: 1}, "tree: f: there is no way to open the content"},
		"linked directory": {nil, Entry{Path: "d", Mode: fs.ModeDir, Link: 1}, "tree: d: only regular files can be hard links"},
		"too large":        {nil, Entry{Path: "f", Size: 1 << 32}, "tree: f: 4294967296 bytes are too many: a file in a cpio image holds at most 4294967295"},
		"dotdot":           {nil, empty("a/../../b"), `tree: path "a/../../b" is not clean and relative: a part is empty, dot or dot-dot`},
	}
	for name, tt := range tests {
		tree := treeOf(t, tt.before...)
		was := paths(tree)
		err := tree.Put(tt.put)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got error %v, want %s", name, err, tt.want)
		}
		if got := paths(tree); got != was {
			t.Errorf("%s: the failed Put changed the tree from %q to %q", name, was, got)
		}
	}
}

func TestRemove(t *testing.T) {
	tree := treeOf(t, empty("a/b/c"), empty("a/b/d"), empty("a/bb"), empty("e"))
	if tree.Remove("a/x") || tree.Remove("a/b/") {
		t.Error("what is not there is removed")
	}
	if !tree.Remove("a/b") {
		t.Error("a/b is not there")
	}
	if got := paths(tree); got != ". a a/bb e" {
		t.Errorf("got %q", got)
	}
	if err := tree.Put(symlink("a", "e")); err == nil {
		t.Error("a still has an entry and can be replaced")
	}
	tree.Remove("a/bb")
	if err := tree.Put(symlink("a", "e")); err != nil {
		t.Errorf("a is empty and cannot be replaced: %v", err)
	}
	if !tree.Remove(".") || tree.Len() != 0 {
		t.Errorf("after the root is removed there is %q", paths(tree))
	}
	if err := tree.Put(empty("again")); err != nil {
		t.Error(err)
	}
}

func TestAllStops(t *testing.T) {
	tree := treeOf(t, empty("a"), empty("b"))
	for e := range tree.All() {
		if e.Path == "a" {
			break
		}
	}
}

func TestNewLink(t *testing.T) {
	var tree Tree
	a, b := tree.NewLink(), tree.NewLink()
	if a == 0 || b == 0 || a == b {
		t.Errorf("got %d and %d", a, b)
	}
}

func TestFile(t *testing.T) {
	e := File("f", 0o755, []byte("abc"))
	for range 2 { // it opens more than once
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "abc" {
			t.Errorf("content %q, %v", b, err)
		}
	}
	if e.Size != 3 || e.Mode != 0o755 || e.Path != "f" {
		t.Errorf("got %+v", e)
	}
}

func TestAddBootDevices(t *testing.T) {
	// Expected are the numbers of Linux' Documentation/admin-guide/devices.txt.
	want := []item{
		{header: header{name: "dev/console", mode: 0o020600, rdevMajor: 5, rdevMinor: 1}},
		{header: header{name: "dev/null", mode: 0o020666, rdevMajor: 1, rdevMinor: 3}},
	}
	var tree Tree
	for range 2 {
		if err := tree.AddBootDevices(); err != nil {
			t.Fatal(err)
		}
	}
	got := items(t, imageOf(t, &tree, Options{}))[2:]
	for i := range got {
		got[i].ino, got[i].nlink = 0, 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}

	tree = *treeOf(t, empty("dev/console"))
	if err := tree.AddBootDevices(); err != nil {
		t.Fatal(err)
	}
	if e, _ := tree.Get("dev/console"); e.Mode != 0o644 {
		t.Error("an entry at dev/console was replaced")
	}
	if _, ok := tree.Get("dev/null"); !ok {
		t.Error("dev/null is missing")
	}

	tree = *treeOf(t, symlink("dev", "run/dev"))
	if err := tree.AddBootDevices(); err == nil {
		t.Error("dev is a link, yet there is no error")
	}
}
