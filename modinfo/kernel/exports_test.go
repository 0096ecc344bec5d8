package kernel

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// The symbols read out of an image are those of its Module.symvers, to the last
// checksum, class and namespace.
func TestLabExports(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), "Module.symvers"))
	if err != nil {
		t.Fatal(err)
	}
	compareSymvers(t, labFacts(t), data, 10419)
}

func TestLab61Exports(t *testing.T) {
	f := imageFacts(t, kotest.LabSharedFile(t, "k61/Image.zst"))
	compareSymvers(t, f, kotest.LabSharedFile(t, "k61/Module.symvers"), 3591)
}

func compareSymvers(t *testing.T, f *Facts, symvers []byte, n int) {
	t.Helper()
	want := new(Facts)
	if err := want.AddSymvers(bytes.NewReader(symvers), "Module.symvers"); err != nil {
		t.Fatal(err)
	}
	if len(f.Exports) != n || len(want.Exports) != n || f.ExportsFrom.Source != FromImage {
		t.Errorf("%d symbols from %v, %d in Module.symvers", len(f.Exports), f.ExportsFrom, len(want.Exports))
	}
	for name, e := range want.Exports {
		if f.Exports[name] != e {
			t.Errorf("%s: %+v, not %+v", name, f.Exports[name], e)
		}
	}
}
