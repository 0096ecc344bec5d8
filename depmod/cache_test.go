package depmod

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
)

const cachedDir = "lib/modules/6.1.0"

// openings counts the files that are opened.
type openings struct {
	fs.FS
	modules atomic.Int64
}

func (o *openings) Open(name string) (fs.File, error) {
	if ModuleSuffix(name) != "" {
		o.modules.Add(1)
	}
	return o.FS.Open(name)
}

func (o *openings) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(o.FS, name) }

func (o *openings) ReadLink(name string) (string, error) { return fs.ReadLink(o.FS, name) }

// written is what a scan comes to, by file, with all problems.
func written(t *testing.T, fsys fs.FS, o Options) map[string]string {
	t.Helper()
	tree, err := Scan(context.Background(), fsys, cachedDir, o)
	if err != nil {
		t.Fatal(err)
	}
	return outcome(t, tree)
}

func outcome(t *testing.T, tree *Tree) map[string]string {
	t.Helper()
	out := make(map[string]string)
	files, problems := tree.Files()
	for _, f := range files {
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		out[f.Name] = b.String()
	}
	for i, p := range append(tree.Problems, problems...) {
		out[fmt.Sprint("problem ", i)] = p.String()
	}
	return out
}

// cacheOf reads a cache from a file with that content.
func cacheOf(t *testing.T, data []byte, program string) *Cache {
	t.Helper()
	f, err := fstest.MapFS{"cache": {Data: data}}.Open("cache")
	if err != nil {
		t.Fatal(err)
	}
	return ReadCache(f, program)
}

// later is a cache's way to the next run.
func later(t *testing.T, c *Cache, now func() time.Time) *Cache {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	next := cacheOf(t, b.Bytes(), c.program)
	t.Cleanup(func() { next.Close() })
	want := 0
	for _, e := range c.byContent {
		if e.age <= oldest {
			want++
		}
	}
	if len(next.byContent) != want {
		t.Fatalf("%d of %d entries were read", len(next.byContent), want)
	}
	next.now = now
	return next
}

// afterwards is a clock by which all files have been left alone for long.
func afterwards() time.Time { return time.Now().Add(time.Hour) }

func TestCacheSparesReading(t *testing.T) {
	root := kotest.Dir(t, map[string]string{
		cachedDir + "/kernel/a.ko.xz":  "modinfo alias=pci:a\nmodinfo softdep=pre: b\nexport a_one crc=0x1\nneed printk crc=0x2",
		cachedDir + "/kernel/b.ko.zst": "need .a_one crc=0x1\nneed maybe", // a function on PowerPC
		cachedDir + "/kernel/c.ko.gz":  "modinfo license=GPL",
		cachedDir + "/kernel/d.ko":     "need a_one crc=0x1",
		cachedDir + "/kernel/e.ko.xz":  "extversions\nversion a_one crc=0x1\nneed printk crc=0x2", // which kmod does not see
	})
	fsys := &openings{FS: os.DirFS(root)}
	plain := written(t, fsys, Options{})
	for _, now := range []func() time.Time{time.Now, afterwards} {
		c := NewCache("test")
		c.now = now
		for run, want := range []int64{5, 1, 1} { // d.ko is plain
			if run > 0 && now().Before(time.Now().Add(time.Minute)) {
				want = 5 // too young: their content is looked at
			}
			fsys.modules.Store(0)
			if diff := cmp.Diff(plain, written(t, fsys, Options{Cache: c})); diff != "" {
				t.Fatalf("run %d: without the cache -, with it +:\n%s", run, diff)
			}
			if opened := fsys.modules.Load(); opened != want {
				t.Errorf("run %d: %d files were opened, not %d", run, opened, want)
			}
			if changed := run == 0; c.Changed() != changed {
				t.Errorf("run %d: changed %v", run, c.Changed())
			}
			c = later(t, c, now)
		}
	}
}

// The clock of the kernel that times files by ticks every 10 ms or more often.
const tick = 20 * time.Millisecond

// TestCacheIsNeverWrong edits a tree at random, and compares with a run that
// remembers nothing.
func TestCacheIsNeverWrong(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	root := t.TempDir()
	dir := filepath.Join(root, filepath.FromSlash(cachedDir), "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e := editor{t: t, random: random, dir: dir, when: time.Now().Add(-24 * time.Hour)}
	for range 12 {
		e.write()
	}
	for _, name := range []string{orderName, builtinName, builtinInfoName} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(dir), name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := NewCache("test")
	c.now = afterwards
	made := make(map[Sum]map[string]string) // a part's files, by what they are made from
	var same [parts]int
	for range 60 {
		for range 1 + random.IntN(3) {
			e.edit()
		}
		time.Sleep(tick)
		full := random.IntN(4) == 0
		o := Options{Workers: 1 + random.IntN(3)}
		if full {
			o.Kernel, o.Check = &KernelSymbols{Versions: true}, true
		}
		if random.IntN(4) == 0 {
			o.Prefix = 's' // with which all symbols begin
		}
		want := written(t, os.DirFS(root), o)
		o.Cache = c
		if diff := cmp.Diff(want, written(t, os.DirFS(root), o)); diff != "" {
			t.Fatalf("seed %d: without the cache -, with it +:\n%s", seed, diff)
		}
		o.Same = func(_ Part, from Sum) bool { return made[from] != nil }
		tree, err := Scan(context.Background(), os.DirFS(root), cachedDir, o)
		if err != nil {
			t.Fatal(err)
		}
		got := outcome(t, tree)
		for part, from := range tree.Made {
			if tree.Same[part] {
				same[part]++
				maps.Copy(got, made[from])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: what is read for the files alone, the same %v:\n%s", seed, tree.Same, diff)
		}
		for part, from := range tree.Made {
			if from != (Sum{}) {
				made[from] = maps.Collect(func(yield func(name, text string) bool) {
					for _, name := range IndexNames {
						if PartOf(name) == Part(part) && !yield(name, want[name]) {
							return
						}
					}
				})
			}
		}
		c = later(t, c, afterwards)
		time.Sleep(tick)
	}
	t.Logf("%d different parts, %v times the same", len(made), same)
	if slices.Contains(same[:], 0) || len(made) == 0 {
		t.Errorf("seed %d: %d different parts, %v times the same", seed, len(made), same)
	}
}

// An editor changes a directory of modules in all the ways that may fool a cache.
type editor struct {
	t      *testing.T
	random *rand.Rand
	dir    string
	when   time.Time // all files pretend to be from then
	broken string    // the file that is damaged, which the next edit removes
}

func (e *editor) path() string {
	return filepath.Join(e.dir, fmt.Sprintf("m%d.ko%s", e.random.IntN(12), []string{"", ".gz", ".xz", ".zst"}[e.random.IntN(4)]))
}

// write puts one of few contents of equal size into a file, in place or as a new one.
func (e *editor) write() {
	e.removeBroken()
	path, alias, n := e.path(), e.random.IntN(2), e.random.IntN(3)
	b, err := kotest.File(path, fmt.Sprintf("modinfo alias=of:N%d\nmodinfo author=%d\nexport sym%d crc=0x%d\nneed sym%d crc=0x1",
		alias, e.random.IntN(2), n+1, n+1, n))
	if err != nil {
		e.t.Fatal(err)
	}
	if e.random.IntN(16) == 0 {
		b, e.broken = b[:len(b)/2], path
	}
	if e.random.IntN(2) == 0 {
		_ = os.Remove(path) // it need not be there
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		e.t.Fatal(err)
	}
	e.age(path)
}

func (e *editor) age(path string) {
	if err := os.Chtimes(path, e.when, e.when); err != nil {
		e.t.Fatal(err)
	}
}

// removeBroken ends the damage: with a file that cannot be read no index is the same.
func (e *editor) removeBroken() {
	_ = os.Remove(e.broken) // there may be none
	e.broken = ""
}

func (e *editor) edit() {
	e.removeBroken()
	switch from, to := e.path(), e.path(); e.random.IntN(6) {
	case 0:
		_ = os.Remove(from) // it need not be there
	case 1:
		_ = os.Rename(from, to) // likewise, as for the next
	case 2:
		_ = os.Remove(to)
		_ = os.Link(from, to)
	default:
		e.write()
	}
}

// What the cache gives of a distribution's modules is what reading them gives.
func TestCacheLab(t *testing.T) {
	root := kotest.LabTree(t, "zst")
	dir := "lib/modules/" + kotest.LabVersion(t)
	c := NewCache("test")
	c.now = afterwards // the tree may just have been made
	scan := func() []*Module {
		tree, err := Scan(context.Background(), os.DirFS(root), dir, Options{Cache: c, Kernel: &KernelSymbols{Versions: true}})
		if err != nil {
			t.Fatal(err)
		}
		return tree.Modules
	}
	first := scan()
	c = later(t, c, afterwards)
	for i, m := range scan() {
		want := *first[i].Info
		want.BuildID = nil // which no index needs
		if diff := cmp.Diff(&want, m.Info); diff != "" {
			t.Fatalf("%s: read -, remembered +:\n%s", m.Path, diff)
		}
	}
	if c.Changed() || len(first) != len(c.byContent) {
		t.Errorf("%d modules, %d are remembered, changed %v", len(first), len(c.byContent), c.Changed())
	}
}

// A cache of another program, or one with any byte changed, counts as none.
func TestCacheDamage(t *testing.T) {
	root := kotest.Dir(t, map[string]string{cachedDir + "/a.ko.xz": "export a crc=0x1", cachedDir + "/b.ko.xz": "need a crc=0x1"})
	c := NewCache("test")
	plain := written(t, os.DirFS(root), Options{Cache: c})
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if n := len(cacheOf(t, b.Bytes(), "test").byContent); n != 2 {
		t.Fatalf("%d modules, not 2", n)
	}
	if n := len(cacheOf(t, b.Bytes(), "other").byContent); n != 0 {
		t.Errorf("%d modules of another program were taken", n)
	}
	known := func(data []byte, brief bool) (n int) {
		c := cacheOf(t, data, "test")
		for _, e := range c.byContent {
			if _, _, err := (&cacheReader{cache: c}).decode(e, brief); err == nil {
				n++
			}
		}
		return n
	}
	if brief, whole := known(b.Bytes(), true), known(b.Bytes(), false); brief != 2 || whole != 2 {
		t.Fatalf("%d modules in brief, %d as a whole, not 2", brief, whole)
	}
	head := startSize + int(binary.LittleEndian.Uint64(b.Bytes()[startSize-16:]))
	for i := range b.Len() {
		damaged := bytes.Clone(b.Bytes())
		damaged[i] ^= 0x55
		if n := known(damaged, true); i < head && n != 0 {
			t.Fatalf("byte %d: %d modules were taken", i, n)
		}
		if n := known(damaged, false); n != 0 {
			t.Fatalf("byte %d: %d modules were taken as a whole", i, n)
		}
		if n := known(b.Bytes()[:i], true); n != 0 {
			t.Fatalf("%d bytes: %d modules were taken", i, n)
		}
	}
	spoiled := bytes.Clone(b.Bytes()) // it is known again after a run that needs all
	spoiled[len(spoiled)-5] ^= 0x55
	mended := cacheOf(t, spoiled, "test")
	if diff := cmp.Diff(plain, written(t, os.DirFS(root), Options{Cache: mended})); diff != "" {
		t.Error(diff)
	}
	var again bytes.Buffer
	if _, err := mended.WriteTo(&again); err != nil {
		t.Fatal(err)
	}
	if n := known(again.Bytes(), false); n != 2 {
		t.Errorf("%d modules after a run with a damaged cache, not 2", n)
	}
	damaged := cacheOf(t, b.Bytes()[1:], "test")
	if diff := cmp.Diff(plain, written(t, os.DirFS(root), Options{Cache: damaged})); diff != "" {
		t.Error(diff)
	}
}

// Entries that nobody asks for go after a while, others stay.
func TestCacheForgets(t *testing.T) {
	root := kotest.Dir(t, map[string]string{cachedDir + "/a.ko.xz": "export a crc=0x1", cachedDir + "/b.ko.xz": "need a crc=0x1"})
	c := NewCache("test")
	written(t, os.DirFS(root), Options{Cache: c})
	if err := os.Remove(filepath.Join(root, filepath.FromSlash(cachedDir), "b.ko.xz")); err != nil {
		t.Fatal(err)
	}
	for run := range oldest + 2 {
		c = later(t, c, time.Now)
		written(t, os.DirFS(root), Options{Cache: c})
		want := 2
		if run >= oldest {
			want = 1
		}
		var b bytes.Buffer
		if _, err := c.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if n := len(cacheOf(t, b.Bytes(), "test").byContent); n != want {
			t.Errorf("run %d: %d modules, not %d", run, n, want)
		}
	}
}

// FuzzCache: whatever a cache's file holds, reading and asking it is safe, and takes
// memory in proportion to it.
func FuzzCache(f *testing.F) {
	root := kotest.Dir(f, map[string]string{cachedDir + "/a.ko.xz": "modinfo alias=x\nexport a crc=0x1", cachedDir + "/b.ko.xz": "need a crc=0x1"})
	c := NewCache("test")
	if _, err := Scan(context.Background(), os.DirFS(root), cachedDir, Options{Cache: c}); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	head := startSize + int(binary.LittleEndian.Uint64(b.Bytes()[startSize-16:]))
	f.Add(b.Bytes()[startSize:head-4], b.Bytes()[head:b.Len()-4])
	f.Add([]byte("\x04test\xff\xff\x3f"), []byte{})
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		data := binary.LittleEndian.AppendUint64([]byte(cacheMagic), uint64(len(head)+4))
		data = append(binary.LittleEndian.AppendUint64(data, uint64(len(rest)+4)), head...)
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		data = binary.LittleEndian.AppendUint32(append(data, rest...), crc32.Checksum(rest, castagnoli))
		c := cacheOf(t, data, "test")
		for _, e := range c.byContent {
			for _, brief := range []bool{false, true} {
				_, _, _ = (&cacheReader{cache: c}).decode(e, brief) // a fault is as good as a miss
			}
		}
	})
}
