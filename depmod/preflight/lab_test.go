package preflight

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/kernel"
)

// labModule prepares a module for the steps behind the header.
func labModule(t testing.TB, facts *kernel.Facts, loaded *Loaded, name string, data []byte) *module {
	m := &module{path: name, name: depmod.ModuleName(name), loaded: loaded, facts: facts, data: data, loader: loaderOf(facts)}
	if findings := checkHeader(new(Check), m); len(findings) > 0 || m.elf == nil {
		t.Fatalf("%s: %+v", name, findings)
	}
	return m
}

// eachLabModule hands out all modules of a distribution.
func eachLabModule(t testing.TB, do func(name string, data []byte)) (n int) {
	fsys := os.DirFS(kotest.LabTree(t, "plain"))
	err := fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".ko" {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err == nil {
			n++
			do(name, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// symbolSteps are those of this part of the loader.
var symbolSteps = []func(*Check, *module) []Finding{checkLayout, checkPLT, checkObsoleteTables, checkExportVersions, checkImports, checkSymbols, checkRelocations}

// A distribution's modules export what its Module.symvers says, and their kernel has
// nothing against any of them once what they need is loaded.
func TestLabModules(t *testing.T) {
	facts := lab612(t)
	loaded := new(Loaded)
	n := eachLabModule(t, func(name string, data []byte) {
		m := labModule(t, facts, loaded, name, data)
		readSymbols(new(Check), m)
		loaded.add(m)
	})
	if n != 3103 {
		t.Errorf("%d modules", n)
	}
	compareExports(t, facts, loaded)
	eachLabModule(t, func(name string, data []byte) {
		m := labModule(t, facts, loaded, name, data)
		readSymbols(new(Check), m)
		for _, step := range symbolSteps {
			for _, f := range step(new(Check), m) {
				t.Errorf("%s: %+v", name, f)
			}
		}
	})
}

func compareExports(t *testing.T, facts *kernel.Facts, loaded *Loaded) {
	if _, n := kotest.LabExports(t); len(facts.ModuleExports) != n || len(loaded.exports) != len(facts.ModuleExports) {
		t.Errorf("%d exports, Module.symvers has %d", len(loaded.exports), len(facts.ModuleExports))
	}
	for name, want := range facts.ModuleExports {
		e, ok := loaded.exports[name]
		if !ok || e.crc != want.CRC || e.hasCRC != want.HasCRC || e.gpl != want.GPL || e.namespace != want.Namespace ||
			e.owner.name != underscored(path.Base(want.Provider)) {
			t.Errorf("%s: %+v of %v, not %+v", name, e.export, e.owner, want)
		}
	}
}

// Without the others loaded each finding names the module that is missing.
func TestLabModulesAlone(t *testing.T) {
	facts := lab612(t)
	missing := 0
	eachLabModule(t, func(name string, data []byte) {
		m := labModule(t, facts, nil, name, data)
		readSymbols(new(Check), m)
		needs := m.modinfo["depends"]
		findings := checkSymbols(new(Check), m)
		for _, f := range findings {
			if f.Rule != DepNotStaged || f.Errno != ENOENT || !f.Reported || f.Hint == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if len(findings) == 0 != (needs == "") && !strings.Contains(m.modinfo["softdep"], "pre:") {
			t.Errorf("%s: depends=%s, %d findings", name, needs, len(findings))
		}
		if len(findings) > 0 {
			missing++
		}
	})
	if missing < 1000 {
		t.Errorf("%d modules need another", missing)
	}
}

// What these steps take for all modules of a distribution, each just read: ms/all is
// without reading the files.
func BenchmarkLabModules(b *testing.B) {
	facts := lab612(b)
	loaded := new(Loaded)
	eachLabModule(b, func(name string, data []byte) {
		m := labModule(b, facts, loaded, name, data)
		readSymbols(new(Check), m)
		loaded.add(m)
	})
	var spent time.Duration
	b.ReportAllocs()
	for b.Loop() {
		eachLabModule(b, func(name string, data []byte) {
			m := labModule(b, facts, loaded, name, data)
			start := time.Now()
			readSymbols(new(Check), m)
			for _, step := range symbolSteps {
				if findings := step(new(Check), m); len(findings) > 0 {
					b.Fatal(findings)
				}
			}
			spent += time.Since(start)
		})
	}
	b.ReportMetric(spent.Seconds()*1000/float64(b.N), "ms/all")
}
