package depmod

import (
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"
)

// A walk on all cores finds what one goroutine finds, in the same order, also where it has
// more directories than it shares out.
func TestWalkInParts(t *testing.T) {
	tree := fstest.MapFS{
		"m/kernel/first.ko":  {},
		"m/zlast.ko":         {},
		"m/kernel/a/odd.ko":  {Mode: fs.ModeNamedPipe},
		"m/kernel/a/gone.ko": {Data: []byte("nowhere"), Mode: fs.ModeSymlink},
		"m/kernel/a/link":    {Data: []byte("../b"), Mode: fs.ModeSymlink},
	}
	for i := range mostParts + 50 {
		dir := fmt.Sprintf("m/kernel/%c/%03d", 'a'+i%3, i)
		for j := range i % 4 {
			tree[fmt.Sprintf("%s/deep/x%d-%d.ko", dir, i, j)] = &fstest.MapFile{}
		}
		tree[dir+"/up"] = &fstest.MapFile{Data: []byte(".."), Mode: fs.ModeSymlink}
	}
	c := new(Config)
	alone := c.walker(tree, nil)
	top, err := alone.open("m", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.read("", top); err != nil {
		t.Fatal(err)
	}
	shared, err := c.walk(tree, "m", "")
	if err != nil {
		t.Fatal(err)
	}
	paths := func(l listing) (all []string) {
		for _, f := range l.files {
			all = append(all, f.path+" "+f.real)
		}
		for _, p := range l.problems {
			all = append(all, p.Path+" "+p.Text)
		}
		return all
	}
	want, got := paths(alone.listing), paths(shared)
	if !slices.Equal(want, got) {
		t.Errorf("%d findings, not %d, or in another order", len(got), len(want))
	}
	if len(want) < 2*mostParts || len(shared.problems) < mostParts {
		t.Errorf("the tree is too small: %d findings, %d problems", len(want), len(shared.problems))
	}
}
