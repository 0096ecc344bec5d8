package kernel

import (
	"bytes"
	"debug/elf"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	n, _ := kotest.LabExports(t)
	compareSymvers(t, labFacts(t), data, n)
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

func TestExportForms(t *testing.T) {
	for _, f := range exportForms {
		machine := elf.EM_RISCV
		if strings.Contains(f.name, "arm64") {
			machine = elf.EM_AARCH64
		}
		for _, n := range []int{minSymbols, 1001} {
			b := newBuilder()
			want := f.testExports(n)
			f.write(b, want)
			facts := new(Facts)
			facts.AddImage(b.image(machine), "Image")
			if !maps.Equal(facts.Exports, want) || facts.ExportsFrom.Source != FromImage {
				t.Errorf("%s: %d symbols from %v, want %d", f.name, len(facts.Exports), facts.ExportsFrom, n)
			}
			for name, e := range facts.Exports {
				if e != want[name] {
					t.Fatalf("%s: %s is %+v, want %+v", f.name, name, e, want[name])
				}
			}
		}
	}
}

// A kernel that can be moved in memory has its pointers elsewhere.
func TestExportsRelocatable(t *testing.T) {
	for _, f := range exportForms[:5] {
		b := newBuilder()
		want := f.testExports(1001)
		f.write(b, want)
		m := asRelocatable(b.image(elf.EM_RISCV))
		if got, _ := findExports(m); got != nil {
			t.Errorf("%s: there are pointers left", f.name)
		}
		facts := new(Facts)
		if facts.AddImage(m, "Image"); !maps.Equal(facts.Exports, want) {
			t.Errorf("%s: %d symbols, want %d", f.name, len(facts.Exports), len(want))
		}
	}
}

// What is not quite such a table is none.
func TestExportsDamaged(t *testing.T) {
	f := exportForms[2]
	want := f.testExports(1001)
	b := newBuilder()
	f.write(b, want)
	start, size := 64<<10, 24*1001
	for name, damage := range map[string]func(data []byte) []byte{
		"names not in order": func(data []byte) []byte {
			swap := bytes.Clone(data[start : start+24])
			copy(data[start:], data[start+24*100:start+24*101])
			copy(data[start+24*100:], swap)
			return data
		},
		"a name outside":   func(data []byte) []byte { data[start+24*500+8+4] = 0; return data },
		"names elsewhere":  func(data []byte) []byte { return slices.Insert(data, start+size, make([]byte, 128)...) },
		"cut off":          func(data []byte) []byte { return data[:start+size] },
		"no second list":   func(data []byte) []byte { return slices.Delete(data, start+24*600, start+size) },
		"a short one only": func(data []byte) []byte { clear(data[start : start+24*800]); return data },
	} {
		m := b.image(elf.EM_RISCV)
		if m.Data = damage(bytes.Clone(m.Data)); true {
			if got, how := findExports(m); got != nil {
				t.Errorf("%s: %d symbols, %s", name, len(got), how)
			}
		}
	}
}

// With the names alone the classes are not known, and a Module.symvers is better.
func TestExportsByNames(t *testing.T) {
	b := newBuilder()
	listForms[4].write(b, testSymbols(700, "__ksymtab_printk", "__ksymtab_other"))
	f := new(Facts)
	f.AddImage(b.image(elf.EM_RISCV), "Image")
	want := map[string]Export{"printk": {Provider: "vmlinux"}, "other": {Provider: "vmlinux"}}
	if !maps.Equal(f.Exports, want) || f.ExportsFrom.String() != "map Image (names in its kallsyms)" {
		t.Errorf("%v from %v", f.Exports, f.ExportsFrom)
	}
	if err := f.AddSymvers(strings.NewReader("0x00000001\ta\tvmlinux\tEXPORT_SYMBOL\t\n"), ""); err != nil || f.ExportsFrom.Source != FromSymvers {
		t.Errorf("from %v, %v", f.ExportsFrom, err)
	}
}
