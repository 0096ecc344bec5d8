//go:build unix

package preflight

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// A bootCase is one module file that a kernel is asked to load. Its name is that of
// the file and of the module.
type bootCase struct {
	name   string
	build  func(*moduleSpec)        // changes the module that every kernel loads
	change func([]byte) []byte      // and then its bytes
	file   func(*bootKernel) []byte // instead of both
	module string                   // the name to unload, when it is not that of the case
	params string
	flags  int
	keep   bool // stays loaded for the cases after it
	newer  bool // not for the older kernel, which faults
	// unpredicted cases are those whose log depends on addresses: only the errno counts.
	unpredicted bool
}

// A bootKernel is a kernel to boot, and what is known of it beforehand.
type bootKernel struct {
	image      string
	facts      *kernel.Facts
	moduleSize int
}

func (k *bootKernel) is61() bool { return strings.HasPrefix(k.facts.Release.Value, "6.1.") }

func boot612(t testing.TB) *bootKernel {
	return &bootKernel{image: filepath.Join(kotest.Lab(t), "vmlinux"), facts: lab612(t), moduleSize: 1216}
}

func boot61(t testing.TB) *bootKernel {
	k := &bootKernel{image: filepath.Join(t.TempDir(), "Image"), facts: lab61(t), moduleSize: 640}
	if err := os.WriteFile(k.image, kotest.LabSharedFile(t, "k61/Image.zst"), 0o644); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKernels asks two kernels in qemu what becomes of several hundred modules, and
// holds the predictions against it: errno and the lines of the log, addresses aside.
// What the kernel says is never written down here.
func TestKernels(t *testing.T) {
	k612, k61 := boot612(t), boot61(t)
	for _, boot := range []struct {
		name, cmdline string
		cases         []bootCase
	}{
		{"plain", "", allBootCases()},
		{"blacklist", "module_blacklist=black_one,black-two,,black_three modprobe.blacklist=plain", blacklistCases()},
		{"enforced", "module.sig_enforce", signatureCases()},
		{"lockdown", "lockdown=integrity", lockdownCases()},
	} {
		for _, k := range []*bootKernel{k612, k61} {
			t.Run(k.facts.Release.Value+"/"+boot.name, func(t *testing.T) {
				cases := boot.cases
				if k.is61() {
					cases = slices.DeleteFunc(slices.Clone(cases), func(c bootCase) bool { return c.newer })
				}
				files := k.files(t, cases)
				k.compare(t, boot.cmdline, cases, files, k.boot(t, boot.cmdline, cases, files))
			})
		}
	}
}

func (k *bootKernel) files(t testing.TB, cases []bootCase) [][]byte {
	seen := make(map[string]bool)
	files := make([][]byte, len(cases))
	for i, c := range cases {
		if seen[c.name] {
			t.Fatalf("two cases %s", c.name)
		}
		seen[c.name] = true
		files[i] = k.make(t, c)
	}
	return files
}

// make builds the file of a case.
func (k *bootKernel) make(t testing.TB, c bootCase) []byte {
	if c.file != nil {
		return c.file(k)
	}
	s := k.plain(c.name)
	if c.build != nil {
		c.build(s)
	}
	data, err := s.Build()
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if c.change != nil {
		data = c.change(data)
	}
	return data
}

// boot lets the kernel load each file, and unload it again.
func (k *bootKernel) boot(t testing.TB, cmdline string, cases []bootCase, files [][]byte) []boottest.Result {
	dir := t.TempDir()
	var commands []string
	for i, c := range cases {
		path := filepath.Join(dir, c.name+".ko")
		if err := os.WriteFile(path, files[i], 0o644); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, fmt.Sprintf("insmod /%s.ko %d %s", c.name, c.flags, c.params))
		if !c.keep {
			commands = append(commands, "rmmod "+cmp.Or(c.module, moduleNameOf(c.name, files[i])))
		}
	}
	boottest.AddInit(t, dir, commands...)
	machine := boottest.Machine{Kernel: k.image, Initrd: boottest.Pack(t, dir), Append: strings.TrimSpace("oops=panic " + cmdline)}
	console := boottest.Run(t, machine)
	results := boottest.Results(t, console)
	if len(results) != len(commands) {
		t.Fatalf("%d results of %d commands; the console:\n%s", len(results), len(commands), console)
	}
	return results
}

// moduleNameOf gives the name to unload, which stands at a fixed place of struct module.
func moduleNameOf(name string, file []byte) string {
	if at := bytes.Index(file, []byte(structNameMark)); at >= 0 {
		own, _, _ := bytes.Cut(file[at+len(structNameMark):], []byte{0})
		if len(own) > 0 {
			return string(own)
		}
	}
	return name
}

// compare holds the predictions against what the kernel did.
func (k *bootKernel) compare(t *testing.T, cmdline string, cases []bootCase, files [][]byte, results []boottest.Result) {
	state := &ootState{k.facts, newLoaded()}
	loaded := 0
	for i, c := range cases {
		did := results[0]
		results = results[1:]
		if !c.keep {
			results = results[1:]
		}
		t.Run(c.name, func(t *testing.T) {
			r := state.predict(c, cmdline, files[i])
			if did.Exit == 0 {
				loaded++
			}
			if int(r.Errno) != did.Exit || (r.Verdict == Fails) != (did.Exit != 0) {
				t.Errorf("predicted: %v, errno %d; the kernel: errno %d", r.Verdict, r.Errno, did.Exit)
			}
			want, got := withoutAddresses(kernelLines(did.Output)), withoutAddresses(strings.Join(r.Dmesg, "\n"))
			if got != want && !c.unpredicted {
				t.Errorf("predicted:\n%s\nthe kernel:\n%s", got, want)
			}
		})
	}
	t.Logf("%d cases, %d loaded", len(cases), loaded)
}

func (s *ootState) predict(c bootCase, cmdline string, file []byte) Result {
	check := &Check{Kernel: s.facts, Cmdline: cmdline, Params: c.params, Flags: c.flags, Raw: true}
	r, m := check.file(new(modinfo.Unpacker), c.name+".ko", bytes.NewReader(file), int64(len(file)), s.loaded)
	if c.keep && r.Verdict != Fails {
		s.loaded.add(m)
	}
	maps.Copy(s.loaded.printed, m.printed)
	return r
}

// kernelLines takes away what is no answer to the module.
func kernelLines(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if line == "" || notTheLoader.MatchString(line) {
			continue
		}
		line = strings.Replace(line, "\x7f", `\x7f`, 1) // as dmesg shows it
		lines = append(lines, strings.Replace(line, "Lockdown: init: ", "Lockdown: insmod: ", 1))
	}
	return strings.Join(lines, "\n")
}

var notTheLoader = regexp.MustCompile(`^(insmod /.*: errno|random: |clocksource: |input: |sched_clock: |hrtimer: |workqueue: )`)

func newLoaded() *Loaded {
	return &Loaded{modules: map[string]*loadedModule{}, exports: map[string]loadedExport{}, printed: map[string]string{}}
}
