package kernel

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// checkPointers compares the loader's table with the names of the functions that it
// points to: each handles the type in whose slot it is.
func checkPointers(t *testing.T, m *Image, slots int) {
	t.Helper()
	f := new(Facts)
	f.AddImage(m, "Image")
	if len(f.Relocations) != slots || f.RelocationsFrom.Source != FromImage || !strings.HasPrefix(f.RelocationsFrom.How, "table of pointers at byte") {
		t.Errorf("%d types from %v", len(f.Relocations), f.RelocationsFrom)
	}
	functions := make(map[uint64][]uint32)
	handlers := make(handlerNames)
	for _, s := range listOf(m) {
		functions[s.address] = append(functions[s.address], handledTypes(s.name)...)
		handlers.add(s.name)
	}
	if !maps.Equal(f.Relocations, handlers) {
		t.Errorf("types %v by pointers, %v by names", f.Relocations, handlers)
	}
	_, at := findPointerTable(m)
	stride := uint64(8)
	if slots == 50 {
		stride = 16 // as since 6.7
	}
	table := pointerTable{m, at, stride}
	for n := range f.Relocations {
		if pointer := table.slot(uint64(n)); !slices.Contains(functions[pointer], n) {
			t.Errorf("type %d: the function at %x handles %v", n, pointer, functions[pointer])
		}
	}
}

func TestLabRelocations(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), "vmlinux"))
	if err != nil {
		t.Fatal(err)
	}
	checkPointers(t, must(read(data)), 50)
}

func TestLab61Relocations(t *testing.T) {
	checkPointers(t, must(read(kotest.LabSharedFile(t, "k61/Image.zst"))), 21)
}
