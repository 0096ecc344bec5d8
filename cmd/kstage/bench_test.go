//go:build linux

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

// cost is what one run of a program took.
type cost struct{ wall, cpu, memory float64 }

// timed runs a program; its output goes nowhere.
func timed(b *testing.B, name string, args ...string) cost {
	b.Helper()
	cmd := exec.Command(name, args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	wall := time.Since(start)
	state := cmd.ProcessState
	return cost{wall.Seconds(), (state.UserTime() + state.SystemTime()).Seconds(), float64(state.SysUsage().(*syscall.Rusage).Maxrss)}
}

// pairs runs two programs in turn and reports the medians of the first one's
// seconds and of the ratios first to second.
func pairs(b *testing.B, first, second func() cost) {
	b.Helper()
	var seconds, wall, cpu, memory []float64
	for b.Loop() {
		x, y := first(), second()
		seconds = append(seconds, x.wall)
		wall = append(wall, x.wall/y.wall)
		cpu = append(cpu, x.cpu/y.cpu)
		memory = append(memory, x.memory/y.memory)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(seconds), "s")
	b.ReportMetric(median(wall), "wall-ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(memory), "memory-ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// programs are kstage under the name depmod, kstage, and kmod's depmod.
func programs(b *testing.B) (ours, kstage, kmod string) {
	b.Helper()
	kstage, err := program()
	if err != nil {
		b.Fatal(err)
	}
	ours = filepath.Join(filepath.Dir(kstage), "depmod")
	if err := os.Symlink(kstage, ours); err != nil && !os.IsExist(err) {
		b.Fatal(err)
	}
	return ours, kstage, filepath.Join(kotest.Lab(b), "depmod-34")
}

// compareDepmod compares the two on a tree, each writing to a fresh directory. Outputs
// are compared first: a ratio only counts when they are the same.
func compareDepmod(b *testing.B, root string) {
	ours, _, kmod := programs(b)
	run := func(program, out string) cost {
		if err := os.RemoveAll(out); err != nil {
			b.Fatal(err)
		}
		return timed(b, program, "-b", root, "-m", "lib/modules", "-C", "/dev/null", "-o", out, kotest.LabVersion(b))
	}
	x, y := filepath.Join(b.TempDir(), "x"), filepath.Join(b.TempDir(), "y")
	run(ours, x)
	run(kmod, y)
	sameFiles(b, y, x)
	pairs(b, func() cost { return run(ours, x) }, func() cost { return run(kmod, y) })
}

func sameFiles(b *testing.B, want, got string) {
	b.Helper()
	if diff := gocmp.Diff(filesBelow(b, want), filesBelow(b, got)); diff != "" {
		b.Fatal("the files differ")
	}
}

func BenchmarkAgainstKmod(b *testing.B) {
	for _, form := range []string{"plain", "zst", "xz"} {
		b.Run(form, func(b *testing.B) { compareDepmod(b, kotest.LabTree(b, form)) })
	}
}

// BenchmarkModules is the cost by the number of modules.
func BenchmarkModules(b *testing.B) {
	for _, n := range []int{500, 1000, 3103, 6206} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { compareDepmod(b, labCopy(b, n)) })
	}
}

// BenchmarkOneChanged: one of the .ko.xz modules has another content than the last run
// saw: one of mean size, or ext4, which is one of the largest. Both say the same as before.
// In the others it says something else each time, in a content that no run has seen: one
// alias is another, or one symbol that it needs; or it is another module, with other
// symbols and aliases.
func BenchmarkOneChanged(b *testing.B) {
	const tun = "drivers/net/tun.ko.xz"
	b.Run("mean", func(b *testing.B) { oneChanged(b, "", appendZeros) })
	b.Run("ext4", func(b *testing.B) { oneChanged(b, "fs/ext4/ext4.ko.xz", appendZeros) })
	b.Run("alias", func(b *testing.B) {
		oneChanged(b, tun, otherNumber("alias=char-major-10-200\x00", "alias=char-major-10-%03d\x00"))
	})
	b.Run("symbol", func(b *testing.B) {
		oneChanged(b, tun, otherNumber("\x00skb_copy_datagram_from_iter\x00", "\x00skb_copy_datagram_from_i%03d\x00"))
	})
	b.Run("module", func(b *testing.B) { oneChanged(b, tun, otherModule()) })
}

// otherNumber gives a change that puts another number into a module, in the place of a text
// of the same length, and packs it as the kernel's build does.
func otherNumber(old, format string) func(*testing.B, string) {
	number := 200
	return func(b *testing.B, path string) {
		b.Helper()
		plain, err := exec.Command("xz", "-dc", path).Output()
		if err != nil {
			b.Fatal(err)
		}
		number++
		text := fmt.Sprintf(format, number)
		if !bytes.Contains(plain, []byte(old)) || len(text) != len(old) {
			b.Fatalf("%q cannot take the place of %q in %s", text, old, path)
		}
		xz := exec.Command("xz", "-c", "--check=crc32", "--lzma2=dict=1MiB")
		xz.Stdin = bytes.NewReader(bytes.ReplaceAll(plain, []byte(old), []byte(text)))
		old = text
		packed, err := xz.Output()
		if err != nil {
			b.Fatal(err)
		}
		replaceFile(b, path, packed)
	}
}

// otherModule gives a change that makes a module another one and back.
func otherModule() func(*testing.B, string) {
	var its []byte
	return func(b *testing.B, path string) {
		b.Helper()
		data, err := os.ReadFile(path)
		if err == nil && its == nil {
			its, err = os.ReadFile(filepath.Join(kotest.LabTree(b, "xz"), "lib/modules", kotest.LabVersion(b), "kernel/drivers/net/veth.ko.xz"))
		}
		if err != nil {
			b.Fatal(err)
		}
		replaceFile(b, path, its)
		its = data
	}
}

// oneChanged changes a module, or one of mean size, before each run.
func oneChanged(b *testing.B, module string, change func(*testing.B, string)) {
	_, kstage, kmod := programs(b)
	root, version := labCopy(b, 3103), kotest.LabVersion(b)
	b.Setenv(cacheVariable, b.TempDir())
	changed := filepath.Join(root, "lib/modules", version, "kernel", module)
	if module == "" {
		changed = meanModule(b, root)
	}
	x, y := filepath.Join(b.TempDir(), "x"), filepath.Join(b.TempDir(), "y")
	first := func() cost {
		change(b, changed)
		return timed(b, kstage, "depmod", "-b", root, "-o", x, version)
	}
	second := func() cost { return timed(b, kmod, "-b", root, "-o", y, version) }
	first()
	second()
	sameFiles(b, y, x)
	time.Sleep(3 * time.Second) // until the links made above are so old that the next run trusts their times
	first()
	pairs(b, first, second)
}

// meanModule is the module whose size is nearest to the mean.
func meanModule(b *testing.B, root string) string {
	b.Helper()
	sizes := make(map[string]int64)
	var sum int64
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || depmod.ModuleSuffix(path) == "" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sizes[path] = info.Size()
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	mean := sum / int64(len(sizes))
	distance := func(path string) int64 { return max(sizes[path]-mean, mean-sizes[path]) }
	return slices.MinFunc(slices.Sorted(maps.Keys(sizes)), func(x, y string) int { return cmp.Compare(distance(x), distance(y)) })
}

// BenchmarkNothingChanged: depmod -A on an index that is up to date.
func BenchmarkNothingChanged(b *testing.B) {
	ours, _, kmod := programs(b)
	root, version := labCopy(b, 3103), kotest.LabVersion(b)
	timed(b, kmod, "-b", root, version)
	pairs(b, func() cost { return timed(b, ours, "-A", "-b", root, version) },
		func() cost { return timed(b, kmod, "-A", "-b", root, version) })
}

// BenchmarkPackAgain: an image of the .ko.xz tree of which one module has changed,
// against one that remembers nothing.
func BenchmarkPackAgain(b *testing.B) {
	_, kstage, _ := programs(b)
	root, cache := labCopy(b, 3103), b.TempDir()
	x, y := filepath.Join(b.TempDir(), "x"), filepath.Join(b.TempDir(), "y")
	changed := meanModule(b, root)
	first := func() cost {
		appendZeros(b, changed)
		b.Setenv(cacheVariable, cache)
		return timed(b, kstage, "pack", root, "-o", x)
	}
	second := func() cost {
		b.Setenv(cacheVariable, "off")
		return timed(b, kstage, "pack", root, "-o", y)
	}
	first()
	second()
	sameFiles(b, y, x)
	pairs(b, first, second)
}

// labCopy makes a tree of n of the lab's .ko.xz modules: hard links where these can be,
// and where n is more than there are, modules of other names besides.
func labCopy(b *testing.B, n int) string {
	b.Helper()
	source := filepath.Join(kotest.LabTree(b, "xz"), "lib/modules", kotest.LabVersion(b))
	root := b.TempDir()
	dir := filepath.Join(root, "lib/modules", kotest.LabVersion(b))
	var modules []string
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(source, path)
		if err == nil && depmod.ModuleSuffix(name) != "" {
			modules = append(modules, name)
		} else if err == nil {
			linkFile(b, path, filepath.Join(dir, name))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		name := modules[i%len(modules)]
		to := name
		if i >= len(modules) {
			to = filepath.Join(filepath.Dir(name), "again-"+filepath.Base(name))
		}
		linkFile(b, filepath.Join(source, name), filepath.Join(dir, to))
	}
	return root
}

func linkFile(b *testing.B, from, to string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		b.Fatal(err)
	}
	if os.Link(from, to) == nil {
		return
	}
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// appendZeros gives a module a content that it never had, and that says the same: behind
// an xz stream four more zeros may stand.
func appendZeros(b *testing.B, path string) {
	b.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	replaceFile(b, path, append(data, 0, 0, 0, 0))
}

// replaceFile puts a file in the place of one that may be a link.
func replaceFile(b *testing.B, path string, data []byte) {
	b.Helper()
	err := os.Remove(path)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}
