package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// A symbol of the kernel as its list has it.
type symbol struct {
	address uint64
	name    string
}

// listOf reads the names and addresses of an image, nil when it has no list.
func listOf(m *Image) []symbol {
	k := findKallsyms(m)
	if k == nil {
		return nil
	}
	list := make([]symbol, k.number)
	k.each(func(i int, name []byte) {
		list[i].name = string(name)
		if k.addresses != nil {
			list[i].address = k.addresses[i]
		}
	})
	return list
}

// parsedMap reads a System.map: the symbols, and those of them that are code of the
// kernel itself, which every kernel has in its list but for what scripts/kallsyms.c
// leaves out: the EFI stub, and labels where the code ends.
func parsedMap(t *testing.T, data []byte) (all map[symbol]bool, code []symbol) {
	t.Helper()
	all = make(map[symbol]bool)
	inText := false
	for line := range strings.Lines(string(data)) {
		address, name, err := parseMapLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := symbol{address, name}
		all[s] = true
		inText = inText || name == "_stext"
		if kind := line[17]; inText && strings.ContainsRune("tTwW", rune(kind)) && !strings.HasPrefix(name, "__efistub_") {
			code = append(code, s)
		}
		if name == "_etext" {
			inText = false
			code = slices.DeleteFunc(code, func(s symbol) bool { return s.address == address })
		}
	}
	return all, code
}

// The small kernel's list against its System.map: what the list has, the map has
// with the same address, and all code of the map is in the list.
func TestLab61Kallsyms(t *testing.T) {
	list := listOf(must(read(kotest.LabSharedFile(t, "k61/Image.zst"))))
	all, code := parsedMap(t, kotest.LabSharedFile(t, "k61/System.map.zst"))
	listed := make(map[symbol]bool)
	for _, s := range list {
		listed[s] = true
		if !all[s] {
			t.Errorf("%x %s is not in System.map", s.address, s.name)
		}
	}
	if len(code) < 10000 {
		t.Errorf("%d functions in System.map", len(code))
	}
	for _, s := range code {
		if !listed[s] {
			t.Errorf("%x %s is not in the list", s.address, s.name)
		}
	}
}

// The lab's kernel has its data in the list too: the table of what it exports begins
// where the list says, and has the symbols of Module.symvers.
func TestLabKallsyms(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), "vmlinux"))
	if err != nil {
		t.Fatal(err)
	}
	m := must(read(data))
	names := newTableNames()
	addresses := make(map[string][]uint64) // static ones may have the same name
	for _, s := range listOf(m) {
		names.add([]byte(s.name))
		addresses[s.name] = append(addresses[s.name], s.address)
	}
	_, how := findExports(m)
	n, _ := kotest.LabExports(t)
	if want := fmt.Sprintf("table of %d symbols by addresses at byte %d of it", n, addresses["__start___ksymtab"][0]-m.Base); how != want {
		t.Errorf("%s, by the list %s", how, want)
	}
	want := new(Facts)
	symvers, err := os.ReadFile(filepath.Join(kotest.Lab(t), "Module.symvers"))
	if err != nil {
		t.Fatal(err)
	}
	if err := want.AddSymvers(bytes.NewReader(symvers), ""); err != nil {
		t.Fatal(err)
	}
	for name := range want.Exports {
		at := addresses["__ksymtab_"+name]
		if len(at) != 1 || !slices.Contains(addresses[name], le.Uint64(m.At(at[0], 24))) {
			t.Errorf("%s is at %x, and exported at %x", name, addresses[name], at)
		}
	}
	if len(names.exports) != len(want.Exports) {
		t.Errorf("%d names of exports", len(names.exports))
	}
}

func TestKallsymsForms(t *testing.T) {
	for _, f := range listForms {
		for _, n := range []int{257, 512, 700} {
			b := newBuilder()
			list := f.asList(testSymbols(n))
			f.write(b, list)
			got := listOf(b.image(elf.EM_RISCV))
			if !slices.Equal(got, list) {
				t.Errorf("%s: %d symbols, want %d", f.name, len(got), n)
				for i := range min(len(got), 4) {
					t.Errorf("%v, want %v", got[i], list[i])
				}
			}
		}
	}
}

// With a part of it damaged there is no list.
func TestKallsymsDamaged(t *testing.T) {
	f := listForms[4]
	b := newBuilder()
	start := b.Len()
	f.write(b, testSymbols(700))
	whole := b.image(elf.EM_RISCV)
	k := findKallsyms(whole)
	if k == nil || k.names != uint64(start)+8 {
		t.Fatalf("%+v", k)
	}
	for name, damage := range map[string]func(data []byte){
		"number":    func(data []byte) { data[start+1]++ },
		"a length":  func(data []byte) { data[start+8]++ },
		"markers":   func(data []byte) { data[k.at-8]++ },
		"tokens":    func(data []byte) { data[k.at+40] = 'x' },
		"no number": func(data []byte) { le.PutUint32(data[start:], 1<<31) },
	} {
		m := *whole
		m.Data = bytes.Clone(whole.Data)
		if damage(m.Data); findKallsyms(&m) != nil {
			t.Errorf("%s: still a list", name)
		}
	}
}
