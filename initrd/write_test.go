package initrd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a tree with one of each.
func sample(t testing.TB) *Tree {
	t.Helper()
	tree := treeOf(t,
		File("bin/busybox", 0o755, words(150_000)),
		symlink("bin/sh", "busybox"),
		symlink("init", "bin/sh"),
		File("etc/motd", 0o644, []byte("welcome\n")),
		Entry{Path: "run/pipe", Mode: fs.ModeNamedPipe | 0o600},
		Entry{Path: "dev/vda", Mode: fs.ModeDevice | 0o660, GID: 6, Major: 254, Minor: 16},
	)
	link := tree.NewLink()
	for _, p := range []string{"etc/group", "etc/group-", "usr/share/group"} {
		e := File(p, 0o640, []byte("root:x:0:\n"))
		e.Link = link
		must(t, tree.Put(e))
	}
	must(t, tree.AddBootDevices())
	return tree
}

func TestSummary(t *testing.T) {
	tree := sample(t)
	for _, s := range everyCompression {
		var b bytes.Buffer
		sum, err := Write(t.Context(), &b, tree, Options{Compression: compression(t, s)})
		if err != nil {
			t.Fatal(err)
		}
		raw := len(imageOf(t, tree, Options{}))
		_, segments, err := told(bytes.NewReader(b.Bytes()))
		must(t, err)
		if len(segments) != 1 || b.Len()%4 != 0 {
			t.Errorf("%s: %d segments in %d bytes", s, len(segments), b.Len())
		}
		want := Summary{Entries: 18, Raw: int64(raw), Compressed: int64(b.Len()), Segments: segments}
		if diff := cmp.Diff(want, sum); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
	}
}

// Neither the processors nor the order of the Puts changes a byte.
func TestImageIsReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	tree := sample(t)
	var all []Entry
	for e := range tree.All() {
		all = append(all, e)
	}
	for _, s := range everyCompression {
		o := Options{Compression: compression(t, s), ModTime: 1_700_000_000}
		want := imageOf(t, tree, o)
		for _, procs := range []int{1, 3, 8} {
			runtime.GOMAXPROCS(procs)
			all = append(all[5:], all[:5]...)
			again := new(Tree)
			for _, e := range all {
				if e.Mode.IsDir() {
					continue // Put makes the same ones
				}
				must(t, again.Put(e))
			}
			if !bytes.Equal(imageOf(t, again, o), want) {
				t.Errorf("%s: other bytes with %d processors, %s first", s, procs, all[0].Path)
			}
		}
	}
}

func TestWriteFile(t *testing.T) {
	tree := sample(t)
	for _, s := range everyCompression {
		path := filepath.Join(t.TempDir(), "initrd.img")
		o := Options{Compression: compression(t, s)}
		for range 2 { // the second time over the first image
			sum, err := WriteFile(t.Context(), path, tree, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(got, imageOf(t, tree, o)) || int64(len(got)) != sum.Compressed {
				t.Errorf("%s: the file is not what Write writes", s)
			}
		}
	}
}

// hooked opens a content that calls hook when it is read.
func hooked(path string, hook func() error) Entry {
	return Entry{Path: path, Mode: 0o644, Size: 3, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(hookReader(hook), strings.NewReader("abc"))), nil
	}}
}

type hookReader func() error

func (h hookReader) Read([]byte) (int, error) {
	if err := h(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// closing returns a content whose Close fails.
func closing(path string, err error) Entry {
	return Entry{Path: path, Mode: 0o644, Size: 1, Open: func() (io.ReadCloser, error) {
		return closer{strings.NewReader("x"), err}, nil
	}}
}

type closer struct {
	io.Reader
	err error
}

func (c closer) Close() error { return c.err }

func TestWriteFileFails(t *testing.T) {
	boom := errors.New("boom")
	tests := map[string]struct {
		entry func(cancel func()) Entry
		want  string
		is    error
	}{
		"open": {func(func()) Entry {
			return Entry{Path: "f", Size: 3, Open: func() (io.ReadCloser, error) { return nil, boom }}
		}, "image: f: boom", boom},
		"read":    {func(func()) Entry { return hooked("f", func() error { return boom }) }, "image: f: read: boom", boom},
		"close":   {func(func()) Entry { return closing("f", boom) }, "image: f: boom", boom},
		"context": {func(cancel func()) Entry { return hooked("f", func() error { cancel(); return nil }) }, "image: f: context canceled", context.Canceled},
	}
	for name, tt := range tests {
		for _, s := range []string{"none", "gzip", "zstd"} {
			ctx, cancel := context.WithCancel(t.Context())
			dir := t.TempDir()
			path := filepath.Join(dir, "initrd.img")
			must(t, os.WriteFile(path, []byte("old"), 0o644))
			tree := sample(t)
			must(t, tree.Put(tt.entry(cancel)))
			sum, err := WriteFile(ctx, path, tree, Options{Compression: compression(t, s)})
			if err == nil || err.Error() != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("%s, %s: got %v, want %s", name, s, err, tt.want)
			}
			if sum.Entries != 0 || sum.Segments != nil {
				t.Errorf("%s, %s: summary %+v", name, s, sum)
			}
			if old, _ := os.ReadFile(path); string(old) != "old" {
				t.Errorf("%s, %s: the old image is gone", name, s)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("%s, %s: left behind: %v", name, s, left)
			}
			cancel()
		}
	}
}

func TestContextEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if _, err := Write(ctx, &b, sample(t), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	image, err := write(t.Context(), &b, sample(t), Options{})
	must(t, err)
	if err := image.readBack(ctx, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("read back: got %v", err)
	}
}

// Readback finds whatever byte of an image is not as it was written.
func TestReadBackFindsFlippedBytes(t *testing.T) {
	tree := treeOf(t, File("a", 0o644, []byte("12345")), symlink("b", "a"), File("c/d", 0o600, []byte("12345678")))
	for _, s := range []string{"none", "gzip", "zstd"} {
		c := compression(t, s)
		var b bytes.Buffer
		image, err := write(t.Context(), &b, tree, Options{Compression: c})
		must(t, err)
		bits := b.Bytes()
		if err := image.readBack(t.Context(), bytes.NewReader(bits)); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		for i := range bits {
			broken := bytes.Clone(bits)
			broken[i] ^= 0x55
			err := image.readBack(t.Context(), bytes.NewReader(broken))
			if err == nil {
				t.Errorf("%s: byte %d of %d changed unnoticed", s, i, len(bits))
			} else if !strings.HasPrefix(err.Error(), "read back: ") {
				t.Errorf("%s: byte %d: error %v", s, i, err)
			}
		}
	}
}

func TestReadBackFindsWrongLength(t *testing.T) {
	tree := sample(t)
	for _, s := range []string{"none", "gzip", "zstd"} {
		c := compression(t, s)
		var b bytes.Buffer
		image, err := write(t.Context(), &b, tree, Options{Compression: c})
		must(t, err)
		bits := b.Bytes()
		for _, n := range []int{0, 1, 3, len(bits) / 2, len(bits) - 200, len(bits) - 3, len(bits) - 1} {
			if err := image.readBack(t.Context(), bytes.NewReader(bits[:n])); err == nil {
				t.Errorf("%s: cut off at %d of %d unnoticed", s, n, len(bits))
			}
		}
		longer := append(bytes.Clone(bits), "more"...)
		if err := image.readBack(t.Context(), bytes.NewReader(longer)); err == nil {
			t.Errorf("%s: bytes after the end unnoticed", s)
		}
		recs := image.segs[0].recs
		image.segs[0].recs = recs[:len(recs)-1]
		if err := image.readBack(t.Context(), bytes.NewReader(bits)); err == nil {
			t.Errorf("%s: an entry too many unnoticed", s)
		}
		image.segs[0].recs = append(recs, recs[0])
		if err := image.readBack(t.Context(), bytes.NewReader(bits)); err == nil {
			t.Errorf("%s: an entry too few unnoticed", s)
		}
	}
}

func TestWriteFileWhereItCannot(t *testing.T) {
	_, err := WriteFile(t.Context(), filepath.Join(t.TempDir(), "none", "img"), sample(t), Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
