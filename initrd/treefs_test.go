package initrd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestTreeFS(t *testing.T) {
	tree := treeOf(t,
		File("usr/lib/modules/6.1/a.ko", 0o644, []byte("module")),
		File("usr-x", 0o644, nil),
		empty("empty"),
		symlink("lib", "usr/lib"),
		symlink("abs", "/lib/modules"),
		symlink("up", "../../../empty"),
	)
	if err := fstest.TestFS(tree.FS(), "usr/lib/modules/6.1/a.ko", "usr-x", "empty", "lib", "abs", "up"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(new(Tree).FS()); err != nil {
		t.Error("the empty tree:", err)
	}
	for name, want := range map[string]string{
		"lib/modules/6.1/a.ko": "module",
		"abs/6.1/a.ko":         "module",
		"up":                   "",
	} {
		b, err := fs.ReadFile(tree.FS(), name)
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	list, err := fs.ReadDir(tree.FS(), "abs")
	if err != nil || len(list) != 1 || list[0].Name() != "6.1" || !list[0].IsDir() {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestTreeFSRefuses(t *testing.T) {
	tree := treeOf(t,
		empty("f"), symlink("loop", "loop"), symlink("nowhere", "x"), symlink("below", "f/x"),
		Entry{Path: "null", Mode: fs.ModeDevice | fs.ModeCharDevice, Major: 1, Minor: 3})
	for name, want := range map[string]error{
		"g": fs.ErrNotExist, "d/e": fs.ErrNotExist, "nowhere": fs.ErrNotExist,
		"../f": fs.ErrInvalid, "null": fs.ErrInvalid, "/f": fs.ErrInvalid,
		"loop": nil, "below": nil, "f/x": nil, // as it is told, if only it is
	} {
		f, err := tree.FS().Open(name)
		if err == nil || f != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := fs.ReadLink(tree.FS(), "f"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a file is read as a link: %v", err)
	}
	if _, err := fs.ReadDir(tree.FS(), "f"); err == nil {
		t.Error("a file is listed")
	}
}

// A file can be read at any place where what Open opens can.
func TestTreeFSReaderAt(t *testing.T) {
	stream := File("stream", 0o644, []byte("12345"))
	spooled := tarTree(t, tarOf(t, tarFile("spooled", "12345")))
	must(t, spooled.Put(stream))
	f, err := spooled.FS().Open("spooled")
	must(t, err)
	b := make([]byte, 3)
	if _, err := f.(io.ReaderAt).ReadAt(b, 2); err != nil || !bytes.Equal(b, []byte("345")) {
		t.Errorf("%q, %v", b, err)
	}
	f, err = spooled.FS().Open("stream")
	must(t, err)
	if _, ok := f.(io.ReaderAt); ok {
		t.Error("a stream is taken for more")
	}
}

// Names that are not UTF-8 are there, as in any Unix file system.
func TestTreeFSBytes(t *testing.T) {
	const name = "d\xff/\xfe\n"
	tree := treeOf(t, File(name, 0o644, []byte("x")))
	if b, err := fs.ReadFile(tree.FS(), name); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}
