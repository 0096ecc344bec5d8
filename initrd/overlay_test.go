package initrd

import (
	"errors"
	"io/fs"
	"testing"
)

func TestAddTree(t *testing.T) {
	base := treeOf(t,
		Entry{Path: ".", Mode: fs.ModeDir | 0o700},
		Entry{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		Entry{Path: "etc", Mode: fs.ModeDir | 0o750, UID: 5},
		File("etc/motd", 0o644, []byte("base")),
		File("usr/lib/libc.so", 0o755, []byte("libc")),
		symlink("lib", "usr/lib"),
		symlink("lib64", "/lib"),
		symlink("init", "bin/init"),
	)
	over := treeOf(t,
		File("etc/motd", 0o600, []byte("over")),      // below a directory it does not describe
		File("tmp/x", 0o600, nil),                    // the same
		File("init", 0o755, []byte("#!")),            // a file over a link
		File("lib64/modules/x.ko", 0o644, nil),       // through two links
		Entry{Path: "lib", Mode: fs.ModeDir | 0o711}, // a directory over a link to one
		symlink("usr/lib/libc.so", "libc.so.6"),      // a link over a file
		Entry{Path: "usr", Mode: fs.ModeDir | 0o711},
	)
	must(t, base.AddTree(".", over))
	want := `. 40700 0:0 
etc 40750 5:0 
etc/motd 100600 0:0 over
init 100755 0:0 #!
lib 120777 0:0 usr/lib
lib64 120777 0:0 /lib
tmp 41777 0:0 
tmp/x 100600 0:0 
usr 40711 0:0 
usr/lib 40755 0:0 
usr/lib/libc.so 120777 0:0 libc.so.6
usr/lib/modules 40755 0:0 
usr/lib/modules/x.ko 100644 0:0 
`
	if got := listing(t, base); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Each tree counts its links for itself.
func TestAddTreeKeepsLinksApart(t *testing.T) {
	make := func(names ...string) *Tree {
		tree := new(Tree)
		link := tree.NewLink()
		for _, n := range names {
			e := File(n, 0o644, []byte(names[0]))
			e.Link = link
			must(t, tree.Put(e))
		}
		return tree
	}
	base := make("a1", "a2", "a3")
	must(t, base.AddTree(".", make("b1", "b2", "a3")), base.AddTree("c/d", make("c1", "c2")))
	want := `. 40755 0:0 
a1 100644 0:0 x2 
a2 100644 0:0 x2 a1
a3 100644 0:0 x3 
b1 100644 0:0 x3 
b2 100644 0:0 x3 b1
c 40755 0:0 
c/d 40755 0:0 
c/d/c1 100644 0:0 x2 
c/d/c2 100644 0:0 x2 c1
`
	if got := listing(t, base); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAddTreeRefuses(t *testing.T) {
	base := func() *Tree {
		return treeOf(t, empty("file"), empty("d/f"), symlink("nowhere", "x"), symlink("loop", "loop"), symlink("tofile", "file"))
	}
	tests := []struct {
		over Entry
		want string
		path string // of the ReplaceError
	}{
		{dir("file"), "tree: file: a directory cannot replace a regular file", "file"},
		{empty("d"), "tree: d: a regular file cannot replace a directory", "d"},
		{symlink("d", "file"), "tree: d: a symbolic link cannot replace a directory", "d"},
		{dir("nowhere"), "tree: nowhere: a directory cannot replace a symbolic link", "nowhere"},
		{dir("loop"), "tree: loop: a directory cannot replace a symbolic link", "loop"},
		{dir("tofile"), "tree: tofile: a directory cannot replace a symbolic link", "tofile"},
	}
	for _, tt := range tests {
		err := base().AddTree(".", treeOf(t, tt.over))
		var replace *ReplaceError
		if err == nil || err.Error() != tt.want || !errors.As(err, &replace) || replace.Path != tt.path {
			t.Errorf("%s: got %v, want %s", tt.over.Path, err, tt.want)
		}
	}
	if err := base().AddTree("file/x", treeOf(t, empty("y"))); err == nil {
		t.Error("a tree lies below a file")
	}
	if err := base().AddTree("../x", treeOf(t, empty("y"))); err == nil {
		t.Error("a tree lies outside")
	}
}
