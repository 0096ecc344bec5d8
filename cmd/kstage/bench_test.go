//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// BenchmarkAgainstKmod compares depmod with kmod's on the lab's tree, writing to
// a fresh directory each time. Outputs are compared first: a ratio only counts
// when they are the same.
func BenchmarkAgainstKmod(b *testing.B) {
	kstage, err := program()
	if err != nil {
		b.Fatal(err)
	}
	ours := filepath.Join(filepath.Dir(kstage), "depmod")
	if err := os.Symlink(kstage, ours); err != nil && !os.IsExist(err) {
		b.Fatal(err)
	}
	kmod := filepath.Join(kotest.Lab(b), "depmod-34")
	version := kotest.LabVersion(b)
	for _, form := range []string{"plain", "zst", "xz"} {
		b.Run(form, func(b *testing.B) {
			root := kotest.LabTree(b, form)
			run := func(program, out string) cost {
				if err := os.RemoveAll(out); err != nil {
					b.Fatal(err)
				}
				return timed(b, program, "-b", root, "-m", "lib/modules", "-C", "/dev/null", "-o", out, version)
			}
			x, y := filepath.Join(b.TempDir(), "x"), filepath.Join(b.TempDir(), "y")
			run(ours, x)
			run(kmod, y)
			if diff := cmp.Diff(filesBelow(b, y), filesBelow(b, x)); diff != "" {
				b.Fatal("the files differ")
			}
			pairs(b, func() cost { return run(ours, x) }, func() cost { return run(kmod, y) })
		})
	}
}
