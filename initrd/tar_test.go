package initrd

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// memSpool is a spool in memory.
type memSpool struct{ b []byte }

func (s *memSpool) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *memSpool) Seek(int64, int) (int64, error) { return int64(len(s.b)), nil }

func (s *memSpool) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.b).ReadAt(p, off)
}

// tarOf makes an archive. A regular file's data is in its header's Linkname.
func tarOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		data := ""
		if h.Typeflag == tar.TypeReg {
			data, h.Linkname = h.Linkname, ""
			h.Size = int64(len(data))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, data)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func tarFile(name, data string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: data}
}

func tarLink(typ byte, name, target string) tar.Header {
	return tar.Header{Typeflag: typ, Name: name, Linkname: target}
}

func tarDir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
}

// listing prints what the image of a tree holds, links by the number of names.
func listing(t testing.TB, tree *Tree) string {
	t.Helper()
	var b strings.Builder
	for _, it := range items(t, imageOf(t, tree, Options{})) {
		fmt.Fprintf(&b, "%s %o %d:%d", it.name, it.mode, it.uid, it.gid)
		if it.mode&typeMask == typeChar || it.mode&typeMask == typeBlock {
			fmt.Fprintf(&b, " %d,%d", it.rdevMajor, it.rdevMinor)
		}
		if it.nlink > 1 && it.mode&typeMask != typeDir {
			fmt.Fprintf(&b, " x%d", it.nlink)
		}
		fmt.Fprintf(&b, " %s\n", it.data)
	}
	return b.String()
}

// tarTree is the tree of an archive that has no problems.
func tarTree(t testing.TB, archive []byte) *Tree {
	t.Helper()
	tree := new(Tree)
	problems, err := tree.AddTar(bytes.NewReader(archive), new(memSpool))
	if err != nil || len(problems) > 0 {
		t.Fatalf("problems %v, error %v", problems, err)
	}
	return tree
}

func TestAddTar(t *testing.T) {
	tree := tarTree(t, tarOf(t,
		tarDir("./", 0o751),
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Typeflag: tar.TypeReg, Name: "./bin/su", Linkname: "su", Mode: 0o6755, Uid: 1000, Gid: 2_000_000},
		tarLink(tar.TypeSymlink, "/init", "../bin/su"),
		tarLink(tar.TypeLink, "bin/sudo", "/bin/su"),
		tarLink(tar.TypeLink, "bin//doas", "bin/sudo"),
		tarLink(tar.TypeLink, "init2", "init"),
		tarDir("tmp/", 0o1777),
		tar.Header{Typeflag: tar.TypeChar, Name: "dev/tty", Mode: 0o666, Gid: 5, Devmajor: 5},
		tar.Header{Typeflag: tar.TypeBlock, Name: "dev/nvme", Mode: 0o660, Devmajor: 259, Devminor: 65793},
		tarLink(tar.TypeLink, "dev/tty2", "dev/tty"),
		tar.Header{Typeflag: tar.TypeFifo, Name: "run/pipe", Mode: 0o600},
		tarFile("empty", ""),
		tarFile("twice", "first"),
		tarLink(tar.TypeLink, "first", "twice"),
		tarFile("twice", "second"),
	))
	want := `. 40751 0:0 
bin 40755 0:0 
bin/doas 106755 1000:2000000 x3 
bin/su 106755 1000:2000000 x3 
bin/sudo 106755 1000:2000000 x3 su
dev 40755 0:0 
dev/nvme 60660 0:0 259,65793 
dev/tty 20666 0:5 5,0 
dev/tty2 20666 0:5 5,0 
empty 100644 0:0 
first 100644 0:0 first
init 120777 0:0 ../bin/su
init2 120777 0:0 ../bin/su
run 40755 0:0 
run/pipe 10600 0:0 
tmp 41777 0:0 
twice 100644 0:0 second
`
	if got := listing(t, tree); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The longest path that there is; one byte more is an error.
func TestAddTarLongNames(t *testing.T) {
	long := strings.Repeat("a/", 2047) + "b"
	if e, ok := tarTree(t, tarOf(t, tarFile(long, "long"))).Get(long); !ok || len(e.Path) != 4095 || e.Size != 4 {
		t.Errorf("got %.40v", e)
	}
	_, err := new(Tree).AddTar(bytes.NewReader(tarOf(t, tarFile(long+"b", "long"))), new(memSpool))
	if err == nil || !strings.Contains(err.Error(), "has 4096 bytes, at most 4095 are allowed") {
		t.Errorf("got %v", err)
	}
}

// A link in the archive is followed by what comes later, as tar -x does.
func TestAddTarThroughLinks(t *testing.T) {
	got := paths(tarTree(t, tarOf(t,
		tarDir("usr/lib", 0o755),
		tarLink(tar.TypeSymlink, "lib", "usr/lib"),
		tarLink(tar.TypeSymlink, "usr/lib/up", "/"),
		tarFile("lib/a/b", "x"),
		tarFile("usr/lib/up/c", "x"),
		tarDir("lib", 0o700),
		tarLink(tar.TypeLink, "d", "lib/a/b"),
	)))
	if want := ". c d lib usr usr/lib usr/lib/a usr/lib/a/b usr/lib/up"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAddTarLeavesOut(t *testing.T) {
	tree := new(Tree)
	tree.Filter = func(e *Entry) bool {
		e.UID = 7
		return e.Path != "skipped" && !strings.HasPrefix(e.Path, "doc")
	}
	archive := tarOf(t,
		tarFile("etc/.wh.passwd", ""),
		tarFile("etc/.wh..wh..opq", ""),
		tar.Header{Typeflag: 'M', Name: "rest"},
		tar.Header{Typeflag: 'V', Name: "volume one"},
		tar.Header{Typeflag: tar.TypeReg, Name: "ping", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00"}},
		tarFile("skipped", "this"),
		tarFile("doc/a", "that"),
		tarFile("kept", "x"),
	)
	archive = append(archive, "another archive"...)
	problems, err := tree.AddTar(bytes.NewReader(archive), new(memSpool))
	must(t, err)
	var got strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&got, p.Rule, p.Path, p.Text)
	}
	want := `whiteout etc/.wh.passwd only says, in one layer of a container image, that something is deleted, left out
whiteout etc/.wh..wh..opq only says, in one layer of a container image, that something is deleted, left out
irregular rest an entry of type 'M' has no place in an image, left out
capability ping its capabilities (setcap) have no place in an image, left out
trailing . the tar archive ends at offset %d, what follows is left out
`
	if want = fmt.Sprintf(want, len(archive)-len("another archive")); got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
	if got := listing(t, tree); got != ". 40755 0:0 \nkept 100644 7:0 x\nping 100644 7:0 \n" {
		t.Errorf("got\n%s", got)
	}
}

func TestAddTarRefuses(t *testing.T) {
	name300 := strings.Repeat("n", 300)
	tests := []struct {
		want    string
		entries []tar.Header
	}{
		{`tar: a/../../b: the name "a/../../b" has a dot-dot in it`, []tar.Header{tarFile("a/../../b", "")}},
		{"tar: b: is a hard link to a, which does not come before it or is left out", []tar.Header{tarLink(tar.TypeLink, "b", "a")}},
		{`tar: b: hard link: the name "../a" has a dot-dot in it`, []tar.Header{tarLink(tar.TypeLink, "b", "../a")}},
		{"tar: b: is a hard link to a, a directory", []tar.Header{tarDir("a", 0o755), tarLink(tar.TypeLink, "b", "./a/")}},
		{"tar: b: hard link to a/c: a: a directory cannot replace a regular file", []tar.Header{tarFile("a", ""), tarLink(tar.TypeLink, "b", "a/c")}},
		{"tree: a: a directory cannot replace a regular file", []tar.Header{tarFile("a", ""), tarDir("a", 0o755)}},
		{"tree: a: a regular file cannot replace a directory", []tar.Header{tarFile("a/b", ""), tarFile("a", "")}},
		{"tree: a/b: a: a directory cannot replace a regular file", []tar.Header{tarFile("a", ""), tarFile("a/b", "")}},
		{"tree: a/b: the link a leads to c: file does not exist", []tar.Header{tarLink(tar.TypeSymlink, "a", "c"), tarFile("a/b", "")}},
		{"tree: a/b: the link a leads to a: too many levels of symbolic links", []tar.Header{tarLink(tar.TypeSymlink, "a", "a"), tarFile("a/b", "")}},
		{"tree: path \"" + name300[:40] + "\"... has a part of 300 bytes, at most 255 are allowed", []tar.Header{tarFile(name300, "")}},
		{"tree: a: the link leads nowhere: its target is empty", []tar.Header{tarLink(tar.TypeSymlink, "a", "")}},
		{"tree: the name TRAILER!!! is kept for the end of the archive", []tar.Header{tarFile("TRAILER!!!", "")}},
		{"tree: .: the root is a directory", []tar.Header{tarFile(".", "")}},
		{"tree: n: device 4096:0 is beyond 4095:1048575", []tar.Header{{Typeflag: tar.TypeChar, Name: "n", Devmajor: 4096}}},
		{"tar: n: device -1:0 is not possible", []tar.Header{{Typeflag: tar.TypeChar, Name: "n", Devmajor: -1, Format: tar.FormatGNU}}},
		{"tar: f: owner -1:0 is not possible", []tar.Header{{Typeflag: tar.TypeReg, Name: "f", Uid: -1, Format: tar.FormatGNU}}},
		{"tar: f: owner 0:4294967296 is not possible", []tar.Header{{Typeflag: tar.TypeReg, Name: "f", Gid: 1 << 32}}},
	}
	for _, tt := range tests {
		_, err := new(Tree).AddTar(bytes.NewReader(tarOf(t, tt.entries...)), new(memSpool))
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// Wherever an archive is cut off, that is an error, and so is damage in a header.
func TestAddTarDamaged(t *testing.T) {
	archive := tarOf(t, tarDir("d", 0o755), tarFile("d/f", strings.Repeat("x", 700)), tarFile("e", ""))
	whole := len(archive) - tarBlock // a single block of zeros is enough of an end
	for n := range whole {
		_, err := new(Tree).AddTar(bytes.NewReader(archive[:n]), new(memSpool))
		if err == nil || !strings.Contains(err.Error(), "cut off") || !strings.Contains(err.Error(), "offset") {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	tarTree(t, archive[:whole])

	bad := bytes.Clone(archive)
	bad[tarBlock] ^= 1
	_, err := new(Tree).AddTar(bytes.NewReader(bad), new(memSpool))
	if err == nil || err.Error() != "tar: entry behind offset 512: the header is damaged" {
		t.Errorf("got %v", err)
	}
}

func TestAddTarLimits(t *testing.T) {
	archive := tarOf(t, tarFile("a", "12345"), tarFile("b", "12345"))
	for _, tt := range []struct {
		entries int
		bytes   int64
		want    string
	}{
		{2, 10, "<nil>"},
		{1, 10, "tar: entry behind offset 517: there are more than 1 entries"},
		{2, 9, "tar: b: the files have more than 9 bytes together"},
	} {
		spool, err := newSpooler(new(memSpool), tt.bytes)
		must(t, err)
		a := newTarAdder(new(Tree), bytes.NewReader(archive), spool, tt.entries)
		if err := a.run(); fmt.Sprint(err) != tt.want {
			t.Errorf("%d, %d: got %v, want %s", tt.entries, tt.bytes, err, tt.want)
		}
	}
}

// A file of 5 GiB, all holes, in an archive of some KiB, costs nothing.
func TestAddTarHugeFile(t *testing.T) {
	var b bytes.Buffer
	must(t, tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: 5 << 30}))
	spool := new(memSpool)
	_, err := new(Tree).AddTar(&b, spool)
	if err == nil || !strings.HasPrefix(err.Error(), "tar: huge: 5368709120 bytes are too many") || len(spool.b) > 0 {
		t.Errorf("got %v, %d bytes in the spool", err, len(spool.b))
	}
}

// fullSpool has room for so many bytes.
type fullSpool struct {
	memSpool
	room int
}

var errNoRoom = errors.New("no space left on device")

func (s *fullSpool) Write(p []byte) (int, error) {
	if len(s.b)+len(p) > s.room {
		return 0, &fs.PathError{Op: "write", Path: "x", Err: errNoRoom}
	}
	return s.memSpool.Write(p)
}

func TestAddTarFullSpool(t *testing.T) {
	for _, size := range []int{1, 1 << 20} { // told by the flush, and by the copy
		archive := tarOf(t, tarFile("f", strings.Repeat("x", size)))
		_, err := new(Tree).AddTar(bytes.NewReader(archive), &fullSpool{room: size - 1})
		if err == nil || !strings.Contains(err.Error(), "spool: no space left on device") || !errors.Is(err, errNoRoom) {
			t.Errorf("%d: got %v", size, err)
		}
	}
}

// Two archives share a spool.
func TestAddTarSharedSpool(t *testing.T) {
	var tree Tree
	spool := new(memSpool)
	for _, data := range []string{"one", "two", "three"} {
		_, err := tree.AddTar(bytes.NewReader(tarOf(t, tarFile(data, data))), spool)
		must(t, err)
	}
	if got := listing(t, &tree); got != ". 40755 0:0 \none 100644 0:0 one\nthree 100644 0:0 three\ntwo 100644 0:0 two\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestAddArchive(t *testing.T) {
	plain := tarOf(t, tarFile("init", "#!/bin/sh\n"))
	archives := map[string][]byte{"plain": plain}
	for _, m := range []Method{Gzip, Zstd} {
		var b bytes.Buffer
		w, err := Compression{Method: m}.writer(&b, int64(len(plain)))
		must(t, err)
		_, err = w.Write(plain)
		must(t, err, w.Close())
		archives[methods[m].name] = b.Bytes()
	}
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		var tree Tree
		problems, err := tree.AddArchive(bytes.NewReader(archives[name]), new(memSpool))
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
		if got := listing(t, &tree); got != ". 40755 0:0 \ninit 100644 0:0 #!/bin/sh\n\n" {
			t.Errorf("%s: got %q", name, got)
		}
		if name == "plain" {
			continue
		}
		cut := archives[name][:len(archives[name])-5]
		if _, err := new(Tree).AddArchive(bytes.NewReader(cut), new(memSpool)); err == nil {
			t.Errorf("%s: cut off, and accepted", name)
		}
	}
	for _, b := range []string{"", "\x1f\x8b", "hello, world"} {
		if _, err := new(Tree).AddArchive(strings.NewReader(b), new(memSpool)); err == nil {
			t.Errorf("%q is accepted", b)
		}
	}
}

// FuzzAddTar: whatever comes, no panic; and what is accepted is a tree that an
// image can be made of, within the size of the spool.
func FuzzAddTar(f *testing.F) {
	f.Add(tarOf(f, tarDir("d", 0o1777), tarFile("d/f", "data"), tarLink(tar.TypeLink, "g", "d/f"), tarLink(tar.TypeSymlink, "l", "d")))
	f.Add(tarOf(f, tarLink(tar.TypeSymlink, "l", "/"), tarFile("l/x", "1"), tarFile("l", "2"), tarFile(strings.Repeat("p/", 100)+"x", "")))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 5}, tar.Header{Typeflag: tar.TypeReg, Name: "u", Uid: 1 << 30}))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, spool := new(Tree), new(memSpool)
		to, err := newSpooler(spool, 1<<20)
		must(t, err)
		a := newTarAdder(tree, bytes.NewReader(b), to, 1000)
		if a.run() != nil {
			return
		}
		must(t, to.flush())
		for e := range tree.All() {
			if strings.Contains("/"+e.Path+"/", "/../") {
				t.Errorf("path %q", e.Path)
			}
		}
		if _, err := Write(t.Context(), io.Discard, tree, Options{}); err != nil {
			t.Error(err)
		}
	})
}
