package preflight

import (
	"context"
	"os"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// What a distribution ships loads on its kernel, and there is nothing to be said of it.
func TestLabTree(t *testing.T) {
	c := Check{Kernel: lab612(t)}
	results, err := c.Tree(context.Background(), os.DirFS(kotest.LabTree(t, "xz")), "lib/modules/"+kotest.LabVersion(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, f := range r.Findings {
			if f.Severity > Info || r.Verdict != Loads {
				t.Fatalf("%s: %v, %+v", r.Path, r.Verdict, f)
			}
		}
	}
	if len(results) != 3103 {
		t.Errorf("%d modules, not 3103", len(results))
	}
}

func BenchmarkLabTree(b *testing.B) {
	c := Check{Kernel: lab612(b)}
	fsys, dir := os.DirFS(kotest.LabTree(b, "xz")), "lib/modules/"+kotest.LabVersion(b)
	for b.Loop() {
		if _, err := c.Tree(context.Background(), fsys, dir, nil); err != nil {
			b.Fatal(err)
		}
	}
}
