//go:build unix

package initrd

import (
	"hash/crc32"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/internal/rootfs"
)

// BenchmarkAgainstReferences packs the file systems of the lab's kernel, modules
// that are not compressed, and its whole tree of .ko.xz; and has find, GNU cpio
// and a compressor do the same, in turn. The figures are medians of the ratios,
// ours to theirs.
func BenchmarkAgainstReferences(b *testing.B) {
	modules := filepath.Join("lib/modules", kotest.LabVersion(b), "kernel")
	for _, tt := range []struct{ name, dir, compression, command string }{
		{"none", kotest.LabTree(b, "xz"), "none", "cat"},
		{"gzip", filepath.Join(kotest.LabTree(b, "plain"), modules, "fs"), "gzip", "gzip"},
		{"zstd", filepath.Join(kotest.LabTree(b, "plain"), modules, "fs"), "zstd", "zstd -3"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var wall, cpu, size []float64
			for b.Loop() {
				x := oursOf(b, tt.dir, Options{Compression: compression(b, tt.compression), OneSegment: true})
				y := theirsOf(b, tt.dir, tt.command)
				wall = append(wall, x.wall/y.wall)
				cpu = append(cpu, x.cpu/y.cpu)
				size = append(size, x.size/y.size)
			}
			b.ReportMetric(0, "ns/op")
			for name, v := range map[string][]float64{"wall-ratio": wall, "cpu-ratio": cpu, "size-ratio": size} {
				slices.Sort(v)
				b.ReportMetric(v[len(v)/2], name)
			}
		})
	}
}

// cost is what an image took: seconds and bytes.
type cost struct{ wall, cpu, size float64 }

func oursOf(b *testing.B, dir string, o Options) cost {
	b.Helper()
	begin, before := time.Now(), cpuSeconds(b, syscall.RUSAGE_SELF)
	root, err := rootfs.Open(dir)
	must(b, err)
	defer root.Close()
	tree := new(Tree)
	_, err = tree.AddFS(root)
	must(b, err)
	sum, err := Write(b.Context(), io.Discard, tree, o)
	must(b, err)
	return cost{time.Since(begin).Seconds(), cpuSeconds(b, syscall.RUSAGE_SELF) - before, float64(sum.Compressed)}
}

func theirsOf(b *testing.B, dir, command string) cost {
	b.Helper()
	begin, before := time.Now(), cpuSeconds(b, syscall.RUSAGE_CHILDREN)
	cmd := exec.Command("sh", "-c", "find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 -C 65536 | "+command)
	cmd.Dir = dir
	size := counter{w: io.Discard, crc: crc32.NewIEEE()}
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &size, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		b.Fatalf("%s: %v\n%s", command, err, &stderr)
	}
	return cost{time.Since(begin).Seconds(), cpuSeconds(b, syscall.RUSAGE_CHILDREN) - before, float64(size.n)}
}

func cpuSeconds(b *testing.B, who int) float64 {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(who, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
