package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestAddFS(t *testing.T) {
	source := fstest.MapFS{
		".":              {Mode: fs.ModeDir | 0o700},
		"bin":            {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		"bin/su":         {Mode: fs.ModeSetuid | 0o755, Data: []byte("su")},
		"etc/motd":       {Mode: 0o640, Data: []byte("welcome\n")},
		"init":           {Mode: fs.ModeSymlink | 0o777, Data: []byte("bin/su")},
		"dangling":       {Mode: fs.ModeSymlink | 0o777, Data: []byte("/nowhere")},
		"run/pipe":       {Mode: fs.ModeNamedPipe | 0o600},
		"run/socket":     {Mode: fs.ModeSocket | 0o600},
		"run/curiosity":  {Mode: fs.ModeIrregular | 0o600},
		"lib/empty-file": {Mode: 0o600},
	}
	tree := treeOf(t, File("etc/motd", 0o600, []byte("below")), empty("etc/passwd"))
	problems, err := tree.AddFS(source)
	if err != nil {
		t.Fatal(err)
	}
	want := []Problem{
		{"irregular", "run/curiosity", "a file of unknown type has no place in an image, left out"},
		{"socket", "run/socket", "a socket has no place in an image, left out"},
	}
	if fmt.Sprint(problems) != fmt.Sprint(want) {
		t.Errorf("problems %v, want %v", problems, want)
	}
	wantItems := []string{
		". 40755 ", "bin 41777 ", "bin/su 104755 su", "dangling 120777 /nowhere",
		"etc 40555 ", "etc/motd 100640 welcome\n", "etc/passwd 100644 ", "init 120777 bin/su",
		"lib 40555 ", "lib/empty-file 100600 ", "run 40555 ", "run/pipe 10600 ",
	}
	var got []string
	for _, it := range items(t, imageOf(t, tree, Options{})) {
		got = append(got, fmt.Sprintf("%s %o %s", it.name, it.mode, it.data))
		if it.uid != 0 || it.gid != 0 {
			t.Errorf("%s is owned by %d:%d", it.name, it.uid, it.gid)
		}
	}
	if strings.Join(got, "|") != strings.Join(wantItems, "|") {
		t.Errorf("got  %q\nwant %q", got, wantItems)
	}
}

// broken fails one operation on one path.
type broken struct {
	fstest.MapFS
	op, path string
}

var errBroken = errors.New("input/output error")

func (b broken) fail(op, p string) error {
	if op == b.op && p == b.path {
		return &fs.PathError{Op: op, Path: p, Err: errBroken}
	}
	return nil
}

func (b broken) Open(p string) (fs.File, error) {
	if err := b.fail("open", p); err != nil {
		return nil, err
	}
	f, err := b.MapFS.Open(p)
	if b.op == "read" && p == b.path {
		return brokenFile{f}, err
	}
	return f, err
}

func (b broken) Lstat(p string) (fs.FileInfo, error) {
	if err := b.fail("lstat", p); err != nil {
		return nil, err
	}
	return b.MapFS.Lstat(p)
}

func (b broken) ReadLink(p string) (string, error) {
	if err := b.fail("readlink", p); err != nil {
		return "", err
	}
	return b.MapFS.ReadLink(p)
}

func (b broken) ReadDir(p string) ([]fs.DirEntry, error) {
	if err := b.fail("readdir", p); err != nil {
		return nil, err
	}
	return b.MapFS.ReadDir(p)
}

type brokenFile struct{ fs.File }

func (brokenFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "x", Err: errBroken}
}

func TestUnreadableSource(t *testing.T) {
	source := fstest.MapFS{
		"d/f": {Mode: 0o644, Data: []byte("x")},
		"l":   {Mode: fs.ModeSymlink, Data: []byte("d/f")},
	}
	tests := []struct{ op, path, want string }{
		{"lstat", "d/f", "tree: d/f: input/output error"},
		{"readlink", "l", "tree: l: input/output error"},
		{"readdir", "d", "tree: d: input/output error"},
		{"readdir", ".", "tree: .: input/output error"},
		{"open", "d/f", "image: d/f: input/output error"}, // late
		{"read", "d/f", "image: d/f: read: input/output error"},
	}
	for _, tt := range tests {
		tree := new(Tree)
		_, err := tree.AddFS(broken{source, tt.op, tt.path})
		if err == nil {
			_, err = Write(t.Context(), io.Discard, tree, Options{})
		}
		if err == nil || err.Error() != tt.want || !errors.Is(err, errBroken) {
			t.Errorf("%s %s: got %v, want %s", tt.op, tt.path, err, tt.want)
		}
	}
}

func TestAddFSDeviceWithoutNumbers(t *testing.T) {
	_, err := new(Tree).AddFS(fstest.MapFS{"dev/tty": {Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}})
	if err == nil || err.Error() != "tree: dev/tty: the device's numbers are not known on this host" {
		t.Errorf("got %v", err)
	}
}

func TestAddFSRefusesWhatPutRefuses(t *testing.T) {
	tree := treeOf(t, symlink("lib", "usr/lib"))
	if _, err := tree.AddFS(fstest.MapFS{"lib/x": {}}); err == nil {
		t.Error("a directory replaced a link")
	}
	if _, err := new(Tree).AddFS(fstest.MapFS{"TRAILER!!!": {}}); err == nil {
		t.Error("a file named like the trailer is accepted")
	}
}
