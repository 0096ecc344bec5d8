package initrd

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// Compressed files may have several members, and what pzstd and tapes put between
// and behind them.
func TestUnpackedMembers(t *testing.T) {
	const data = "twenty bytes of data\n"
	gz, zst := string(pack(t, []byte(data), "gzip -nc")), string(pack(t, []byte(data), "zstd -qc"))
	skippable := "\x5a\x2a\x4d\x18\x04\x00\x00\x00abcd"
	for name, tt := range map[string]struct{ file, want, err string }{
		"plain":             {data, data, ""},
		"empty":             {"", "", ""},
		"two gzip members":  {gz + gz, data + data, ""},
		"two zstd frames":   {zst + zst, data + data, ""},
		"skippable frames":  {skippable + zst + skippable + skippable + zst + skippable, data + data, ""},
		"zeros behind":      {gz + "\x00\x00\x00", data, ""},
		"junk behind":       {gz + "junk", data, `gzip: "junk" follows the compressed data`},
		"another method":    {gz + zst, data, "follows the compressed data"},
		"cut off":           {gz + gz[:len(gz)-1], data + data, "gzip: the data is cut off"},
		"cut off skippable": {zst + skippable[:10], data, "zstd: skippable frame: the archive is cut off"},
	} {
		z, err := unpacked(bufio.NewReader(strings.NewReader(tt.file)))
		must(t, err)
		got, err := io.ReadAll(z)
		must(t, z.Close())
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: error %v, want %q", name, err, tt.err)
		}
		if string(got) != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// To know what a file is, no more than so much of it is kept: 40 MiB of
// skippable frames unpack to nothing.
func TestAddArchiveSniffsWithinBounds(t *testing.T) {
	frame := append([]byte("\x50\x2a\x4d\x18\x00\x00\x10\x00"), make([]byte, 1<<20)...)
	r := &repeated{what: frame, left: 40}
	if head := firstBlock(r); len(head) != 0 {
		t.Errorf("got %q", head)
	}
	if r.left == 0 {
		t.Error("all has been read")
	}
}

// repeated gives the same bytes over and over.
type repeated struct {
	what []byte
	left int
	rest []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		r.left--
		r.rest = r.what
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// An image passes the filter too, and its root.
func TestAddImageFilter(t *testing.T) {
	image := imageOf(t, treeOf(t, File("init", 0o755, []byte("#!")), empty("doc/x"), symlink("sh", "init")), Options{})
	tree := &Tree{Filter: func(e *Entry) bool {
		e.UID = 3
		return !strings.HasPrefix(e.Path, "doc")
	}}
	problems, err := tree.AddArchive(bytes.NewReader(image), new(memSpool))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if got := listing(t, tree); got != ". 40755 3:0 \ninit 100755 3:0 #!\nsh 120777 3:0 init\n" {
		t.Errorf("got\n%s", got)
	}
}

// AddFile takes one file to a place of its own.
func TestAddFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "motd"), []byte("hello"), 0o600), os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	var tree Tree
	problems, err := tree.AddFile("etc/issue", os.DirFS(dir), "motd")
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if got := listing(t, &tree); got != ". 40755 0:0 \netc 40755 0:0 \netc/issue 100600 0:0 hello\n" {
		t.Errorf("got\n%s", got)
	}
	_, err = tree.AddFile("x", os.DirFS(dir), "missing")
	if err == nil || !strings.HasPrefix(err.Error(), "tree: x: ") {
		t.Errorf("got %v", err)
	}
	tree.Filter = func(*Entry) bool { return false }
	if _, err = tree.AddFile("y", fstest.MapFS{"f": {}}, "f"); err != nil {
		t.Error(err)
	}
	if _, ok := tree.Get("y"); ok {
		t.Error("the filter did not see the file")
	}
}
