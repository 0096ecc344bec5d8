package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
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
	names := newTableNames()
	for _, s := range listOf(m) {
		functions[s.address] = append(functions[s.address], handledTypes([]byte(s.name))...)
		names.add([]byte(s.name))
	}
	if !maps.Equal(f.Relocations, names.handlers) {
		t.Errorf("types %v by pointers, %v by names", f.Relocations, names.handlers)
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

// Tables of mainline and of a board's maker, in both forms and with their pointers
// in place or not. The refusing functions are far away from the others.
func TestRelocationTables(t *testing.T) {
	mainline := func(release string) []uint32 {
		_, types := mainlineRelocations(elf.EM_RISCV, release)
		return slices.Sorted(maps.Keys(types))
	}
	refused := []uint32{3, 4, 5, 6, 7, 8, 9, 10, 11, 58}
	for name, tt := range map[string]struct {
		stride     int
		types, far []uint32
	}{
		"4.15":     {8, mainline("4.15"), []uint32{51}},
		"4.17":     {8, mainline("4.17"), []uint32{43}},
		"6.1":      {8, mainline("6.1"), []uint32{43}},
		"6.3":      {8, mainline("6.3"), nil},
		"6.12":     {16, mainline("6.12"), refused},
		"StarFive": {8, append(mainline("6.1"), 37, 38, 52, 53, 54, 55, 57), nil},
	} {
		near := slices.DeleteFunc(slices.Clone(tt.types), func(n uint32) bool { return slices.Contains(tt.far, n) })
		b := newBuilder()
		b.Write(make([]byte, 128<<10))
		at := writeHandlers(b, tt.stride, near, tt.far)
		b.Write(make([]byte, 8))
		for range minRelatives { // pointers of something else
			b.put64(testBase + 128<<10)
		}
		m := b.image(elf.EM_RISCV)
		for _, m := range []*Image{m, asRelocatable(m)} {
			f := new(Facts)
			f.AddImage(m, "Image")
			if got := slices.Sorted(maps.Keys(f.Relocations)); !slices.Equal(got, slices.Sorted(slices.Values(tt.types))) {
				t.Errorf("%s: got %v, want %v", name, got, tt.types)
			}
			if want := (Origin{FromImage, "Image", fmt.Sprintf("table of pointers at byte %d of it", at)}); f.RelocationsFrom != want {
				t.Errorf("%s: from %v", name, f.RelocationsFrom)
			}
		}
	}
}

// Two tables, or one with a pointer where none has one, tell nothing; then the
// version does.
func TestRelocationTablesDoubtful(t *testing.T) {
	_, types := mainlineRelocations(elf.EM_RISCV, "6.1")
	list := slices.Sorted(maps.Keys(types))
	for name, write := range map[string]func(b *builder){
		"two":     func(b *builder) { writeHandlers(b, 8, list, nil); writeHandlers(b, 16, list, nil) },
		"type 47": func(b *builder) { writeHandlers(b, 8, append(slices.Clone(list), 47), nil) },
		"no type 2": func(b *builder) {
			writeHandlers(b, 8, slices.DeleteFunc(slices.Clone(list), func(n uint32) bool { return n == 2 }), nil)
		},
	} {
		b := newBuilder()
		write(b)
		b.WriteString("\x00Linux version 6.6.1 (a@b) (gcc) #1\x00")
		f := new(Facts)
		if f.AddImage(b.image(elf.EM_RISCV), "Image"); f.RelocationsFrom.String() != "version (mainline 6.6)" {
			t.Errorf("%s: %d from %v", name, len(f.Relocations), f.RelocationsFrom)
		}
	}
}

// The functions' names tell as much, in an image or in a System.map. The machine
// shows in them too.
func TestRelocationNames(t *testing.T) {
	var names, lines []string
	_, types := mainlineRelocations(elf.EM_RISCV, "6.12")
	for name, n := range riscvHandlers {
		if !types[n] {
			t.Errorf("%s: no kernel has type %d", name, n)
		}
		names = append(names, "apply_r_riscv_"+name+"_rela.isra.0")
	}
	names = append(names, "tls_not_supported", "dynamic_linking_not_supported", "apply_r_riscv_unheard_of", "apply_8_bit_accumulation")
	for _, name := range names {
		lines = append(lines, "ffffffff80001000 t "+name)
	}
	b := newBuilder()
	listForms[4].write(b, testSymbols(700, names...))
	byImage, byMap := new(Facts), new(Facts)
	byImage.AddImage(b.image(elf.EM_RISCV), "Image")
	if err := byMap.AddSystemMap(strings.NewReader(systemMap(lines...)), "System.map"); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]*Facts{"image Image (names in its kallsyms)": byImage, "map System.map": byMap} {
		if !maps.Equal(f.Relocations, types) || f.RelocationsFrom.String() != want || f.Machine != elf.EM_RISCV {
			t.Errorf("%v: %d types from %v", f.Machine, len(f.Relocations), f.RelocationsFrom)
		}
	}
	// A few names are no table.
	f := new(Facts)
	if err := f.AddSystemMap(strings.NewReader(systemMap(lines[:5]...)), "System.map"); err != nil || f.Relocations != nil || f.Machine != 0 {
		t.Errorf("%v, %v", f.Relocations, err)
	}
}

// The small kernel's System.map has the functions of its 21 types.
func TestLab61MapRelocations(t *testing.T) {
	f := new(Facts)
	if err := f.AddSystemMap(bytes.NewReader(kotest.LabSharedFile(t, "k61/System.map.zst")), "System.map"); err != nil {
		t.Fatal(err)
	}
	if _, want := mainlineRelocations(elf.EM_RISCV, "6.1"); len(f.Relocations) != 21 || !maps.Equal(f.Relocations, want) || f.RelocationsFrom.Source != FromMap {
		t.Errorf("%d from %v", len(f.Relocations), f.RelocationsFrom)
	}
}
