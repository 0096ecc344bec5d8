package preflight

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// What two kernels said of out-of-tree modules, with all that is known of both.
func TestOutOfTree(t *testing.T) {
	tryOutOfTree(t, map[string]*kernel.Facts{"t612": lab612(t), "t61": lab61(t)})
}

// The images alone tell as much.
func TestOutOfTreeByImage(t *testing.T) {
	f612 := factsOf(t, labFile(t, "vmlinux"), nil, nil)
	f61 := factsOf(t, kotest.LabSharedFile(t, "k61/Image.zst"), nil, nil)
	if f612.ExportsFrom.Source != kernel.FromImage || f61.ExportsFrom.Source != kernel.FromImage || f612.ConfigFrom.Source != kernel.Unknown {
		t.Errorf("symbols from %v and %v, configuration from %v", f612.ExportsFrom, f61.ExportsFrom, f612.ConfigFrom)
	}
	tryOutOfTree(t, map[string]*kernel.Facts{"t612": f612, "t61": f61})
}

// tryOutOfTree loads the modules of the table into each kernel.
func tryOutOfTree(t *testing.T, facts map[string]*kernel.Facts) {
	states := make(map[string]*ootState)
	for dir, f := range facts {
		states[dir] = newOOTState(f)
	}
	for _, row := range ootRows(t) {
		dir, file, params, flags, errno, dmesg := row[1], row[2], row[3], row[4], row[5], row[6]
		t.Run(dir+"/"+file, func(t *testing.T) {
			data := kotest.LabSharedFile(t, filepath.Join("oot", dir, file))
			r := states[dir].try(t, file, data, params, flags)
			if strconv.Itoa(int(r.Errno)) != errno || (r.Verdict == Loads) != (errno == "0") {
				t.Errorf("%v, errno %d, not %s", r.Verdict, r.Errno, errno)
			}
			if got := withoutAddresses(strings.Join(r.Dmesg, " | ")); got != withoutAddresses(dmesg) {
				t.Errorf("says\n%s, the kernel\n%s", got, dmesg)
			}
			for _, f := range r.Findings {
				t.Logf("%s %v %v %s\n%s\n%s %s+%#x", f.Rule, f.Severity, f.Errno, f.Text, f.Hint, f.Symbol, f.Section, f.Offset)
			}
		})
	}
}

// ootRows are the rows of the table: kernel, directory, file, parameters, flags, errno
// and dmesg.
func ootRows(t *testing.T) (rows [][]string) {
	table, err := os.ReadFile(filepath.Join(kotest.LabShared(t), "oot", "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimRight(string(table), "\n"), "\n")[1:] {
		rows = append(rows, strings.Split(line, "\t"))
	}
	if len(rows) != 64 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows
}

// With a System.map only, relocations are known, and names of symbols. Nothing wrong
// is foretold of the rest.
func TestOutOfTreeByMap(t *testing.T) {
	f := new(kernel.Facts)
	if err := f.AddSystemMap(bytes.NewReader(kotest.LabSharedFile(t, "k61/System.map.zst")), "System.map"); err != nil {
		t.Fatal(err)
	}
	byMap := []string{"02_unwind_tables.ko", "07_reloc_tls29.ko", "10_reloc_type200.ko", "17_reloc_type59_plt32.ko", "50_unknown_symbol.ko"}
	state := newOOTState(f)
	for _, row := range ootRows(t) {
		file, params, flags, errno, dmesg := row[2], row[3], row[4], row[5], row[6]
		if row[1] != "t61" || strings.HasPrefix(file, "97b") { // fails with and without MODULE_DECOMPRESS, in another way
			continue
		}
		r := state.try(t, file, kotest.LabSharedFile(t, "oot/t61/"+file), params, flags)
		if slices.Contains(byMap, file) && (r.Verdict != Fails || r.From != kernel.FromMap) {
			t.Errorf("%s: %v from %v", file, r.Verdict, r.From)
		}
		if r.Verdict == Unknown {
			continue
		}
		if got := withoutAddresses(strings.Join(r.Dmesg, " | ")); strconv.Itoa(int(r.Errno)) != errno || got != withoutAddresses(dmesg) {
			t.Errorf("%s: errno %d, not %s; says\n%s, the kernel\n%s", file, r.Errno, errno, got, dmesg)
		}
	}
}

// An ootState is a kernel into which one module after the other was loaded, and out
// again unless its name has "keep".
type ootState struct {
	facts  *kernel.Facts
	loaded *Loaded
}

func newOOTState(f *kernel.Facts) *ootState {
	printed := map[string]string{taintOutOfTree: "yes", taintUnsigned: "yes"} // before the first row
	return &ootState{f, &Loaded{modules: map[string]*loadedModule{}, exports: map[string]loadedExport{}, printed: printed}}
}

func (s *ootState) try(t *testing.T, file string, data []byte, params, flags string) Result {
	n, err := strconv.Atoi(flags)
	if err != nil {
		t.Fatal(err)
	}
	c := &Check{Kernel: s.facts, Params: params, Flags: n, Raw: true}
	r, m := c.file(new(modinfo.Unpacker), file, bytes.NewReader(data), int64(len(data)), s.loaded)
	if strings.Contains(file, ".keep.") {
		s.loaded.add(m)
	}
	maps.Copy(s.loaded.printed, m.printed)
	return r
}

var addresses = regexp.MustCompile(`\b[0-9a-f]{16}\b|\(____ptrval____\)|<address>`)

func withoutAddresses(s string) string { return addresses.ReplaceAllString(s, "X") }

// lab612 is what is known of the lab's kernel.
func lab612(t testing.TB) *kernel.Facts {
	f := factsOf(t, labFile(t, "vmlinux"), labFile(t, "Module.symvers"), labFile(t, "config"))
	f.ModuleSize, f.ModuleSizeFrom = 1216, kernel.Origin{Source: kernel.FromModules}
	return f
}

func labFile(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// lab61 is what is known of the small kernel of the shared lab.
func lab61(t testing.TB) *kernel.Facts {
	return factsOf(t, kotest.LabSharedFile(t, "k61/Image.zst"), kotest.LabSharedFile(t, "k61/Module.symvers"),
		kotest.LabSharedFile(t, "k61/config-6.1.192-kstage"))
}

// factsOf puts together what the files tell; those that are nil are not there.
func factsOf(t testing.TB, image, symvers, config []byte) *kernel.Facts {
	f := new(kernel.Facts)
	m, err := kernel.ReadImage(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	f.AddImage(m, "vmlinux")
	if symvers != nil {
		if err := f.AddSymvers(bytes.NewReader(symvers), "Module.symvers"); err != nil {
			t.Fatal(err)
		}
	}
	if config != nil {
		c, err := kernel.ParseConfig(bytes.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		f.AddConfig(c, "config")
	}
	f.AddRelease(f.Release.Value)
	return f
}
