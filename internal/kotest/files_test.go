package kotest

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestCompressors(t *testing.T) {
	large := bytes.Repeat([]byte("large and dull "), 20000)
	gunzip := func(b []byte) []byte {
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	unzstd := func(b []byte) []byte {
		r, _ := zstd.NewReader(nil)
		defer r.Close()
		out, err := r.DecodeAll(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, c := range []struct {
		name         string
		packed, want []byte
		unpack       func([]byte) []byte
	}{
		{"gzip", Gzip(large), large, gunzip},
		{"zstd", Zstd(large), large, unzstd},
		{"xz", XZ(large), large, unxz},
		{"xz of 64 KiB", XZ(large[:1<<16]), large[:1<<16], unxz},
		{"xz of nothing", XZ([]byte{}), nil, unxz},
		{"xz without blocks", XZ(), nil, unxz},
		{"xz of three blocks", XZ(large[:5], large[:70000], large), bytes.Join([][]byte{large[:5], large[:70000], large}, nil), unxz},
		{"xz of two streams", append(XZ(large[:7]), XZ(large)...), append(large[:7:7], large...), unxz},
	} {
		if got := c.unpack(c.packed); !bytes.Equal(got, c.want) || got == nil {
			t.Errorf("%s: %d bytes come back, want %d", c.name, len(got), len(c.want))
		}
		if strings.HasPrefix(c.name, "xz") {
			checkXZ(t, c.name, c.packed, c.want)
		}
	}
}

// checkXZ asks the xz tool, where there is one.
func checkXZ(t *testing.T, name string, packed, want []byte) {
	t.Helper()
	tool, err := exec.LookPath("xz")
	if err != nil {
		return
	}
	cmd := exec.Command(tool, "-dc")
	cmd.Stdin = bytes.NewReader(packed)
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: the xz tool gives %d bytes, want %d (%v)", name, len(got), len(want), err)
	}
}

func TestFileByName(t *testing.T) {
	fsys := FS(t, map[string]string{
		"a/two.dots.ko": "modinfo license=GPL", "a/b.ko.xz": "", "a/b.ko.gz": "", "a/b.ko.zst": "", "a/c.ko.txt": "need x", "modules.order": "a\n",
	})
	for name, magic := range map[string]string{
		"a/two.dots.ko": "\x7fELF", "a/b.ko.xz": "\xfd7zXZ", "a/b.ko.gz": "\x1f\x8b", "a/b.ko.zst": "\x28\xb5\x2f\xfd", "a/c.ko.txt": "need x", "modules.order": "a\n",
	} {
		if got := string(fsys[name].Data); !strings.HasPrefix(got, magic) {
			t.Errorf("%s begins with %q, want %q", name, got[:min(len(got), 6)], magic)
		}
	}
	if b, err := File("x/bad.ko", "blah"); b != nil || err == nil || !strings.HasPrefix(err.Error(), "x/bad.ko: module text: line 1") {
		t.Errorf("bad text: %v", err)
	}
}

// The modules below testdata are what their texts say: after a change of the
// texts, or of this package, go generate ./internal/kotest makes them anew.
func TestGeneratedModules(t *testing.T) {
	const texts, modules = "../../testdata/modules", "../../testdata/initrd-rv64/lib/modules/6.12.0-kstage"
	fresh := t.TempDir()
	if err := Generate(fresh, os.DirFS(texts)); err != nil {
		t.Fatal(err)
	}
	want, have := content(t, fresh), content(t, modules)
	if len(want) == 0 {
		t.Fatal("no texts")
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("%s has no text", name)
		}
	}
	for name, b := range want {
		if have[name] != b {
			t.Errorf("%s is not what its text says", name)
		}
	}
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLabTrees(t *testing.T) {
	version := LabVersion(t)
	count := func(form, ext string) (n int) {
		modules := filepath.Join(LabTree(t, form), "lib/modules", version)
		err := fs.WalkDir(os.DirFS(modules), ".", func(name string, d fs.DirEntry, err error) error {
			if strings.HasSuffix(name, ext) {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		order, err := os.ReadFile(filepath.Join(modules, "modules.order"))
		if err != nil || len(order) == 0 {
			t.Errorf("%s: modules.order: %v", form, err)
		}
		return n
	}
	want := count("xz", ".ko.xz")
	for form, ext := range map[string]string{"plain": ".ko", "gz": ".ko.gz", "zst": ".ko.zst"} {
		if n := count(form, ext); n != want || n == 0 {
			t.Errorf("%s: %d modules, want %d", form, n, want)
		}
	}
}
