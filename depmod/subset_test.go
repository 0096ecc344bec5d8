package depmod_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

// A subset is what a scan finds when the other modules are not there: whatever the
// order of the tree says, and whoever exports what.
func TestSubset(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		texts, order := make(map[string]string), ""
		for i := range 12 {
			name := fmt.Sprintf("kernel/m%d.ko", i)
			text := fmt.Sprintf("export s%d\nexport shared%d\nmodinfo alias=x:%d-*\nmodinfo softdep=pre: m%d\n", i, i%4, i%5, i/2)
			for range random.IntN(4) {
				if i > 0 {
					text += fmt.Sprintf("need s%d\n", random.IntN(i)) // of an earlier one: no circles
				}
			}
			texts[dir+"/"+name] = text
			if random.IntN(3) > 0 {
				order = name + "\n" + order
			}
		}
		switch round % 4 {
		case 0:
			order += "kernel/m3.ko\n#comment\nkernel/nobody.ko\n"
		case 1:
			order += "cut off"
		}
		if round%4 != 2 {
			texts[dir+"/modules.order"] = order
		}
		texts[dir+"/modules.builtin"] = "kernel/b.ko\n"
		fsys := kotest.FS(t, texts)
		options := depmod.Options{Compat: []int{30, 33, 34}[round%3], Complete: round%5 == 0}
		tree := scan(t, fsys, options)
		keep := subset(tree, random)
		sub, err := tree.Subset(func(m *depmod.Module) bool { return keep[m.Path] })
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tree.Modules {
			if !keep[m.Path] {
				delete(fsys, dir+"/"+m.Path)
			}
		}
		got := contents(t, sub)
		if data, cut := got["modules.order"]; cut {
			fsys[dir+"/modules.order"] = &fstest.MapFile{Data: []byte(data)}
			for line := range strings.Lines(data) {
				if !keep[strings.TrimSpace(line)] {
					t.Errorf("round %d: modules.order has %q", round, line)
				}
			}
		}
		want := contents(t, scan(t, fsys, options))
		for name, data := range want {
			if got[name] != data && name != "modules.order" {
				t.Fatalf("round %d: %s differs:\n%s", round, name, firstDifference([]byte(data), []byte(got[name])))
			}
		}
	}
}

// subset takes half of the modules, and what they need.
func subset(tree *depmod.Tree, random *rand.Rand) map[string]bool {
	keep := make(map[string]bool)
	for _, m := range tree.Modules {
		if random.IntN(2) == 0 {
			continue
		}
		keep[m.Path] = true
		for _, d := range m.Deps {
			keep[d.Path] = true
		}
	}
	return keep
}

func contents(t *testing.T, tree *depmod.Tree) map[string]string {
	t.Helper()
	all := make(map[string]string)
	files, _ := tree.Files()
	for _, f := range files {
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		all[f.Name] = b.String()
	}
	return all
}
