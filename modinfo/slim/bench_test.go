package slim_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/slim"
)

// BenchmarkAgainstXZ reads and strips all of the lab's modules, one after the other, and
// in turn has xz -dc unpack them. It reports the median seconds of stripping and the
// median ratio of the two.
func BenchmarkAgainstXZ(b *testing.B) {
	xz, plain := tool(b, "xz"), labModules(b)
	args := []string{"-dc"}
	err := filepath.WalkDir(kotest.LabTree(b, "xz"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".xz" {
			args = append(args, path)
		}
		return err
	})
	if err != nil || len(args)-1 != len(plain) {
		b.Fatalf("%d packed modules of %d, %v", len(args)-1, len(plain), err)
	}
	var seconds, ratios []float64
	for b.Loop() {
		start := time.Now()
		for _, path := range plain {
			data, err := os.ReadFile(path)
			if err == nil {
				_, _, err = slim.Strip(data)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		ours := time.Since(start)
		start = time.Now()
		if err := exec.Command(xz, args...).Run(); err != nil {
			b.Fatal(err)
		}
		seconds = append(seconds, ours.Seconds())
		ratios = append(ratios, ours.Seconds()/time.Since(start).Seconds())
	}
	slices.Sort(seconds)
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(seconds[len(seconds)/2], "s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}
