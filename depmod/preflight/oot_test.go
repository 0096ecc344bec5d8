package preflight

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// What two kernels said of out-of-tree modules, with all that is known of both.
func TestOutOfTree(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(kotest.LabShared(t), "oot", "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]*ootState{"t612": newOOTState(lab612(t)), "t61": newOOTState(lab61(t))}
	lines := strings.Split(strings.TrimRight(string(table), "\n"), "\n")[1:]
	if len(lines) != 64 {
		t.Fatalf("%d rows", len(lines))
	}
	for _, line := range lines {
		row := strings.Split(line, "\t")
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
	lab := kotest.Lab(t)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(lab, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	f := factsOf(t, read("vmlinux"), read("Module.symvers"), read("config"))
	f.ModuleSize, f.ModuleSizeFrom = 1216, kernel.Origin{Source: kernel.FromModules}
	return f
}

// lab61 is what is known of the small kernel of the shared lab.
func lab61(t testing.TB) *kernel.Facts {
	return factsOf(t, kotest.LabSharedFile(t, "k61/Image.zst"), kotest.LabSharedFile(t, "k61/Module.symvers"),
		kotest.LabSharedFile(t, "k61/config-6.1.192-kstage"))
}

func factsOf(t testing.TB, image, symvers, config []byte) *kernel.Facts {
	f := new(kernel.Facts)
	m, err := kernel.ReadImage(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	f.AddImage(m, "vmlinux")
	if err := f.AddSymvers(bytes.NewReader(symvers), "Module.symvers"); err != nil {
		t.Fatal(err)
	}
	c, err := kernel.ParseConfig(bytes.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	f.AddConfig(c, "config")
	f.AddRelease(f.Release.Value)
	return f
}
