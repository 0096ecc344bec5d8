package initrd

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
)

// mixed is a tree of files that are compressed already and others.
func mixed(t testing.TB) *Tree {
	t.Helper()
	tree := treeOf(t,
		File("init", 0o755, words(30_000)),
		File("lib/modules/6.1/kernel/fs/a.ko.xz", 0o644, []byte("packed a")),
		File("lib/modules/6.1/kernel/fs/b.ko", 0o644, words(5_000)),
		File("lib/modules/6.1/modules.dep", 0o644, words(1_000)),
		File("lib/firmware/f.zst", 0o644, []byte("packed f")),
		symlink("lib/firmware/l.zst", "f.zst"),
		File("etc/empty.gz", 0o644, nil),
		Entry{Path: "etc/d.gz", Mode: fs.ModeDir | 0o755}, // a directory
	)
	link := tree.NewLink()
	for _, p := range []string{"lib/modules/6.1/kernel/c.ko.gz", "usr/linked"} {
		e := File(p, 0o600, []byte("packed c"))
		e.Link = link
		must(t, tree.Put(e))
	}
	return tree
}

// What goes into which segment: the directories that the plain segment needs
// are in it, and nowhere else.
const (
	mixedPacked = ". lib lib/firmware lib/firmware/f.zst lib/modules lib/modules/6.1 lib/modules/6.1/kernel" +
		" lib/modules/6.1/kernel/c.ko.gz lib/modules/6.1/kernel/fs lib/modules/6.1/kernel/fs/a.ko.xz usr usr/linked"
	mixedRest = "etc etc/d.gz etc/empty.gz init lib/firmware/l.zst lib/modules/6.1/kernel/fs/b.ko lib/modules/6.1/modules.dep"
	mixedAll  = ". etc etc/d.gz etc/empty.gz init lib lib/firmware lib/firmware/f.zst lib/firmware/l.zst lib/modules lib/modules/6.1" +
		" lib/modules/6.1/kernel lib/modules/6.1/kernel/c.ko.gz lib/modules/6.1/kernel/fs lib/modules/6.1/kernel/fs/a.ko.xz" +
		" lib/modules/6.1/kernel/fs/b.ko lib/modules/6.1/modules.dep usr usr/linked"
	earlyAll = ". kernel kernel/early.bin"
)

func early(t testing.TB) *Tree {
	t.Helper()
	return treeOf(t, File("kernel/early.bin", 0o600, []byte("found early")))
}

// segmentNames reads the names of each segment with the package's own reader;
// TestSegmentsByReferences has others read them.
func segmentNames(t testing.TB, image []byte) []string {
	t.Helper()
	var all []string
	r := NewReader(bytes.NewReader(image))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Segment == len(all) {
			all = append(all, h.Name)
		} else {
			all[h.Segment] += " " + h.Name
		}
	}
}

// segmentCases are the forms of an image of mixed.
var segmentCases = []struct {
	name       string
	early, one bool
	compressed []string // names in each segment when compressed
	plain      []string // and when not
}{
	{"usual", false, false, []string{mixedPacked, mixedRest}, []string{mixedAll}},
	{"early", true, false, []string{earlyAll, mixedPacked, mixedRest}, []string{earlyAll, mixedAll}},
	{"one segment", false, true, []string{mixedAll}, []string{mixedAll}},
	{"early and one", true, true, []string{earlyAll, mixedAll}, []string{earlyAll, mixedAll}},
}

func TestSegments(t *testing.T) {
	tree := mixed(t)
	for _, tt := range segmentCases {
		for _, c := range []string{"none", "gzip", "zstd", "xz", "lz4"} {
			o := Options{Compression: compression(t, c), OneSegment: tt.one}
			if tt.early {
				o.Early = early(t)
			}
			want := tt.compressed
			if c == "none" {
				want = tt.plain
			}
			if got := segmentNames(t, imageOf(t, tree, o)); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: got\n%q, want\n%q", tt.name, c, got, want)
			}
		}
	}
}

// Without a file that is compressed already there is one segment, and without
// any other too; an empty tree still has a trailer.
func TestSegmentsThatAreNotThere(t *testing.T) {
	o := Options{Compression: Compression{Method: Gzip}}
	for name, tt := range map[string]struct {
		tree *Tree
		want Method
	}{
		"nothing packed": {treeOf(t, File("a", 0o644, []byte("x"))), Gzip},
		"all packed":     {treeOf(t, File("a.xz", 0o644, []byte("x")), File("d/b.zst", 0o644, []byte("x"))), None},
		"empty":          {new(Tree), Gzip},
	} {
		o.Early = new(Tree)
		sum, err := Write(t.Context(), io.Discard, tt.tree, o)
		if err != nil || len(sum.Segments) != 1 || sum.Segments[0].Method != tt.want {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
	}
}

// No two files of an image share a number, so that nothing is linked where a
// reader overlooks a trailer.
func TestNumbersAreUnique(t *testing.T) {
	image := imageOf(t, mixed(t), Options{Early: early(t), Compression: Compression{Method: Gzip}})
	names := make(map[uint32]string)
	for _, it := range items(t, image) {
		if other := names[it.ino]; other != "" && it.nlink < 2 {
			t.Errorf("%s and %s are both number %d", other, it.name, it.ino)
		}
		if it.mode&typeMask != typeDir {
			names[it.ino] = it.name
		}
	}
}

func TestEarlyInTheWay(t *testing.T) {
	tree := treeOf(t, symlink("lib", "usr/lib"), Entry{Path: "usr/lib", Mode: fs.ModeDir | 0o755})
	_, err := Write(t.Context(), io.Discard, tree, Options{Early: treeOf(t, File("lib/firmware/x", 0o644, nil))})
	want := "early: lib: is a directory here but a symbolic link in the tree, which the kernel could not put in its place"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	_, err = Write(t.Context(), io.Discard, tree, Options{Early: treeOf(t, File("usr/lib/x", 0o644, nil), File("lib", 0o644, nil))})
	if err != nil {
		t.Error(err)
	}
}

// The data of every file stands at a multiple of what was asked for, whatever
// the length of its name, and the tree is the same.
func TestAlign(t *testing.T) {
	part := strings.Repeat("n", 250)
	tree := treeOf(t, symlink("link", "target"), File("zero", 0o644, nil))
	packed := 0
	for i, n := range []int{1, 2, 3, 4, 5, 30, 100, 250, 1000, 3900, 4000, 4079, 4090, 4091, 4092, 4093, 4094, 4095} {
		for k := range 9 {
			name := strings.Repeat(string(rune('A'+k)), n)
			if n > 5 {
				name = fmt.Sprintf("d%d%d%s", i, k, strings.Repeat("/"+part, 17))[:n]
			}
			if strings.HasSuffix(name, "/") {
				name = name[:n-1] + "x"
			}
			if k > 5 && n > 10 && n < 4000 {
				name += ".xz"
				packed++
			}
			must(t, tree.Put(File(name, 0o644, fmt.Appendf(nil, "<content %d %d>%s", i, k, strings.Repeat("x", k*37)))))
		}
	}
	if packed == 0 {
		t.Fatal("no file is packed")
	}
	for _, n := range []int{4, 8, 64, 512, 4096} {
		for _, c := range []string{"none", "gzip"} {
			image := imageOf(t, tree, Options{Early: early(t), Compression: compression(t, c), Align: n})
			checkAligned(t, tree, image, n, c == "gzip")
		}
	}
	for _, n := range []int{-4, 1, 2, 3, 12, 4097, 8192} {
		if _, err := Write(t.Context(), io.Discard, tree, Options{Align: n}); err == nil || !strings.HasPrefix(err.Error(), "align: ") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// checkAligned looks for the contents where they stand in the image, or for
// those of packed files.
func checkAligned(t *testing.T, tree *Tree, image []byte, n int, packed bool) {
	t.Helper()
	for e := range tree.All() {
		if e.Size == 0 || packed && !strings.HasSuffix(e.Path, ".xz") {
			continue
		}
		r, err := e.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		if at := bytes.Index(image, data); at < 0 || at%n != 0 {
			t.Errorf("align %d: %.20s (%d bytes): data at %d", n, e.Path, len(e.Path), at)
		}
	}
	if at := bytes.Index(image, []byte("found early")); at%n != 0 {
		t.Errorf("align %d: early data at %d", n, at)
	}
	seen := make(map[string]int)
	for _, it := range items(t, image) {
		if seen[it.name]++; len(it.data) > 0 && it.nlink == 1 && int(it.size) != len(it.data) {
			t.Errorf("align %d: %.20s has %d bytes, not %d", n, it.name, len(it.data), it.size)
		}
	}
	if n == maxAlign && seen[rootPath] < 4 {
		t.Error("no filler was needed: the names do not test them")
	}
	for e := range tree.All() {
		if seen[e.Path] == 0 || seen[e.Path] > 1 && e.Path != rootPath {
			t.Errorf("align %d: %.20s is there %d times", n, e.Path, seen[e.Path])
		}
	}
}

// large is a tree of several frames, one of which holds a file that is larger
// than what is held in memory.
func large(t testing.TB, big int) *Tree {
	t.Helper()
	data := words(700_000)
	tree := new(Tree)
	for i := range 25 {
		must(t, tree.Put(File(fmt.Sprintf("d%d/f%d", i%3, i), 0o644, data[i*1000:])))
	}
	if big > 0 {
		must(t, tree.Put(File("d1/big", 0o644, words(big))))
	}
	return tree
}

// Frames end between entries, each in a gzip member of its own, and make up the
// archive.
func TestFramesEndBetweenEntries(t *testing.T) {
	for _, big := range []int{0, maxHeld + 1} {
		tree := large(t, big)
		archive := imageOf(t, tree, Options{})
		entries := make(map[int]bool)
		for at, it := range offsets(t, archive) {
			entries[at] = it != ""
		}
		in := bytes.NewReader(imageOf(t, tree, Options{Compression: Compression{Gzip, 1}}))
		z, err := gzip.NewReader(in) // of the standard library
		must(t, err)
		var all []byte
		frames := 0
		for ; err == nil && in.Len() > 4; err = z.Reset(in) {
			if frames++; !entries[len(all)] {
				t.Errorf("a frame begins at %d, where no entry does", len(all))
			}
			z.Multistream(false)
			before := len(all)
			part, err := io.ReadAll(z)
			must(t, err)
			all = append(all, part...)
			if len(all) < len(archive) && len(all)-before < frameSize {
				t.Errorf("frame %d has %d bytes", frames, len(all)-before)
			}
		}
		if frames < 3 || !bytes.Equal(all, archive) {
			t.Errorf("%d frames; the same archive: %v", frames, bytes.Equal(all, archive))
		}
	}
}

// offsets returns where the entries of a plain archive begin.
func offsets(t testing.TB, archive []byte) map[int]string {
	t.Helper()
	all := make(map[int]string)
	r := NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[int(h.Offset)] = h.Name
	}
}

// The number of processors does not change where frames end or what they become.
func TestFramesAreReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	tree := large(t, 0)
	for _, s := range []string{"gzip", "zstd", "lz4", "xz:1"} {
		o := Options{Compression: compression(t, s)}
		runtime.GOMAXPROCS(1)
		want := imageOf(t, tree, o)
		for _, procs := range []int{2, 9} {
			runtime.GOMAXPROCS(procs)
			if !bytes.Equal(imageOf(t, tree, o), want) {
				t.Errorf("%s: other bytes with %d processors", s, procs)
			}
		}
	}
}

// A file larger than a frame is compressed as it is read.
func TestLargeFileIsNotHeld(t *testing.T) {
	const size = 200 << 20
	tree := treeOf(t, File("a", 0o644, []byte("a")), Entry{Path: "zeros", Mode: 0o644, Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeroReader{}, size)), nil
	}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sum, err := Write(t.Context(), io.Discard, tree, Options{Compression: Compression{Zstd, 1}})
	must(t, err)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/4 || sum.Raw < size {
		t.Errorf("%d bytes were allocated for %d", got, sum.Raw)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Behind whatever an image ends with, an appended archive is read.
func TestAppendedArchive(t *testing.T) {
	more := imageOf(t, early(t), Options{})
	for i := range 12 { // for every remainder of the compressed size
		tree := treeOf(t, File("f", 0o644, words(100+i)))
		for _, c := range []string{"none", "gzip", "zstd", "xz", "lz4"} {
			image := imageOf(t, tree, Options{Compression: compression(t, c)})
			if len(image)%4 != 0 {
				t.Errorf("%s: the image has %d bytes", c, len(image))
			}
			got := segmentNames(t, append(image, more...))
			if want := []string{". f", earlyAll}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %q", c, got)
			}
		}
	}
}

// An error in a later frame names the entry, and none is lost that the output
// has.
func TestFrameErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, s := range []string{"gzip:1", "zstd:1", "lz4"} {
		o := Options{Compression: compression(t, s)}
		tree := large(t, 0)
		must(t, tree.Put(hooked("d2/f99", func() error { return boom })))
		_, err := Write(t.Context(), io.Discard, tree, o)
		if want := "image: d2/f99: read: boom"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v", s, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		must(t, tree.Put(hooked("d2/f99", func() error { cancel(); return nil })))
		if _, err := Write(ctx, io.Discard, tree, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", s, err)
		}
		tree.Remove("d2/f99")
		size := len(imageOf(t, tree, o))
		for _, room := range []int{0, 1, size / 3, size / 2, size - 1} {
			if _, err := Write(t.Context(), &full{room: room}, tree, o); !errors.Is(err, errFull) {
				t.Errorf("%s: room for %d of %d bytes: %v", s, room, size, err)
			}
		}
	}
}
