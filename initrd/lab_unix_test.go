//go:build unix

package initrd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The module tree of the lab, as written with every check there is and as the
// reference tools read it.
func TestLab(t *testing.T) {
	lab := os.Getenv("KSTAGE_LAB")
	if lab == "" {
		t.Skip("KSTAGE_LAB is not set: lab/fetch brings the module tree")
	}
	gnuCpio(t)
	tree := new(Tree)
	if problems := addRoot(t, tree, filepath.Join(lab, "tree-xz")); len(problems) != 0 {
		t.Errorf("problems %v", problems)
	}
	image := filepath.Join(t.TempDir(), "img")
	sum, err := WriteFile(t.Context(), image, tree, Options{Compression: Compression{Zstd, 1}, OneSegment: true})
	must(t, err)
	if sum.Entries < 3103 || sum.Compressed > sum.Raw {
		t.Errorf("got %+v", sum)
	}
	raw, err := exec.Command("zstd", "-dc", image).Output()
	if err != nil {
		t.Skip("no zstd to compare with")
	}
	want := strings.ReplaceAll(paths(tree), " ", "\n") + "\n"
	if got := runCpio(t, t.TempDir(), string(raw), "-it", "-H", "newc"); got != want {
		t.Error("GNU cpio lists other names")
	}
}
