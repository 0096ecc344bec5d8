package initrd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// extract unpacks an image into dir.
func extract(t testing.TB, image, dir string, o ExtractOptions) (Extracted, error) {
	t.Helper()
	tree, _, err := ReadTree(strings.NewReader(image), spoolFile(t))
	must(t, err)
	return extractTree(t, tree, dir, o)
}

func extractTree(t testing.TB, tree *Tree, dir string, o ExtractOptions) (Extracted, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	return tree.Extract(t.Context(), root, o)
}

// contentsOf gives the contents of the files in dir, by path.
func contentsOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		must(t, err)
		b, err := os.ReadFile(p)
		all[filepath.ToSlash(rel)] = string(b)
		return err
	}))
	return all
}

func wantContents(t testing.TB, dir string, want ...string) {
	t.Helper()
	got := contentsOf(t, dir)
	for i := 0; i < len(want); i += 2 {
		if b, ok := got[want[i]]; !ok || b != want[i+1] {
			t.Errorf("%s: %q, %v; want %q", want[i], b, ok, want[i+1])
		}
		delete(got, want[i])
	}
	if len(got) > 0 {
		t.Errorf("there are more files: %v", got)
	}
}

func TestExtractSelect(t *testing.T) {
	const d, f = 0o40755, 0o100644
	image := entry(d, ".", "") + entry(0o40700, "a", "") + entry(f, "a/1", "x") + entry(f, "a/2", "y") + entry(d, "b", "") + entry(f, "b/3", "z") +
		linkedEntry(9, 2, f, "a/l", "") + linkedEntry(9, 2, f, "b/l", "linked") + end
	for _, tt := range []struct {
		take    string
		entries int
		want    []string
	}{
		{"a/1", 1, []string{"a/1", "x"}},
		{"b b/3 a/2", 3, []string{"a/2", "y", "b/3", "z"}},
		{"a/l", 1, []string{"a/l", "linked"}},
		{"b/l", 1, []string{"b/l", "linked"}},
		{"a/l b/l", 2, []string{"a/l", "linked", "b/l", "linked"}},
		{"", 0, nil},
	} {
		dir := t.TempDir()
		done, err := extract(t, image, dir, ExtractOptions{Select: func(e *Entry) bool {
			return strings.Contains(" "+tt.take+" ", " "+e.Path+" ")
		}})
		must(t, err)
		if done.Entries != tt.entries {
			t.Errorf("%s: %d entries made", tt.take, done.Entries)
		}
		wantContents(t, dir, tt.want...)
	}
}

// Nothing is begun when something is in the way; with Overwrite only directories
// are.
func TestExtractOccupied(t *testing.T) {
	const d, f = 0o40755, 0o100644
	image := entry(f, "0", "new") + entry(d, "d", "") + entry(f, "d/a", "new") + entry(d, "e", "") + entry(f, "e/b", "new") + end
	for _, tt := range []struct {
		name, there    string
		plain, replace string // what is in the way
	}{
		{"nothing", "", "", ""},
		{"other files", "x=1 d/y=1", "", ""},
		{"a file", "d/a=old x=1", "d/a", ""},
		{"a file for a directory", "d=old", "d", ""},
		{"a directory for a file", "d/a/x=old", "d/a", "d/a"},
		{"both", "0/x=1 e=old", "0 e", "0"},
	} {
		for _, overwrite := range []bool{false, true} {
			dir := t.TempDir()
			for word := range strings.FieldsSeq(tt.there) {
				p, text, _ := strings.Cut(word, "=")
				must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755), os.WriteFile(filepath.Join(dir, p), []byte(text), 0o644))
			}
			before := contentsOf(t, dir)
			_, err := extract(t, image, dir, ExtractOptions{Overwrite: overwrite})
			want := tt.plain
			if overwrite {
				want = tt.replace
			}
			in, isOccupied := errors.AsType[*OccupiedError](err)
			if want == "" {
				if got := contentsOf(t, dir); err != nil || got["0"]+got["d/a"]+got["e/b"] != "newnewnew" {
					t.Errorf("%s, overwrite %v: %v, %v", tt.name, overwrite, got, err)
				}
				continue
			}
			if !isOccupied || strings.Join(in.Paths, " ") != want || in.Dirs != (tt.replace != "") {
				t.Errorf("%s, overwrite %v: %v (%+v), want %s", tt.name, overwrite, err, in, want)
			}
			if got := contentsOf(t, dir); len(got) != len(before) {
				t.Errorf("%s: something was written: %v", tt.name, got)
			}
		}
	}
}

// An end of the context stops the work; a content that is not as long as it should
// be is an error and no file.
func TestExtractFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	tree := treeOf(t, File("a", 0o644, []byte("1")), File("b", 0o644, []byte("2")), File("c", 0o644, []byte("3")))
	_, err = tree.Extract(ctx, root, ExtractOptions{Progress: func(done, _ int) {
		if done == 3 { // the root, a, b
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantContents(t, dir, "a", "1", "b", "2")

	for _, size := range []int64{2, 4} {
		dir := t.TempDir()
		e := File("f", 0o644, []byte("abc"))
		e.Size = size
		_, err := extractTree(t, treeOf(t, e), dir, ExtractOptions{})
		if err == nil || !strings.Contains(err.Error(), "extract: f: has not the") {
			t.Errorf("size %d: got %v", size, err)
		}
		wantContents(t, dir)
	}
}

// Device nodes are left out and reported unless they are asked for.
func TestExtractWithoutDevices(t *testing.T) {
	dir := t.TempDir()
	done, err := extract(t, entry(0o20600, "c", "")+entry(0o60600, "d/b", "")+end, dir, ExtractOptions{})
	must(t, err)
	if len(done.Problems) != 2 || done.Problems[0].Rule != "device" || done.Problems[1].Path != "d/b" || done.Entries != 1 {
		t.Errorf("%+v", done)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "d")); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestComparePartwise(t *testing.T) {
	order := []string{".", "+", "a", "a/b", "a/b/c", "a/b-", "a+", "a-b", "a0"}
	for i, a := range order {
		for j, b := range order {
			if got := comparePartwise(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s, %s: %d", a, b, got)
			}
		}
	}
}

// The limit counts all contents, also those that later ones replace.
func TestMaxContents(t *testing.T) {
	const f = 0o100644
	image := entry(f, "a", "12345") + entry(f, "a", "12345") + end
	for limit, ok := range map[int64]bool{10: true, 9: false, 4: false} {
		r := NewReader(strings.NewReader(image))
		r.MaxContents = limit
		_, _, err := ReadImage(r, spoolFile(t))
		if (err == nil) != ok || !ok && !errors.Is(err, ErrMaxContents) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}
