package initrd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/internal/rootfs"
)

// BenchmarkWriteNewc writes uncompressed images: of 3,000 empty files, which
// measures the headers; of 3,000 files of 30 kB; and of the module tree of the
// lab, when KSTAGE_LAB names it.
func BenchmarkWriteNewc(b *testing.B) {
	b.Run("headers", func(b *testing.B) { benchmarkWrite(b, synthetic(b, 0), Options{}) })
	b.Run("files", func(b *testing.B) { benchmarkWrite(b, synthetic(b, 30_000), Options{}) })
	b.Run("lab", func(b *testing.B) { benchmarkWrite(b, labTree(b), Options{}) })
}

// BenchmarkWriteCompressed compresses what modules are like: 3,000 files of
// 30 kB.
func BenchmarkWriteCompressed(b *testing.B) {
	tree := synthetic(b, 30_000)
	for _, s := range []string{"gzip", "zstd:1", "zstd"} {
		b.Run(s, func(b *testing.B) { benchmarkWrite(b, tree, Options{Compression: compression(b, s)}) })
	}
}

func BenchmarkAddFS(b *testing.B) {
	for b.Loop() {
		labTree(b)
	}
}

func benchmarkWrite(b *testing.B, tree *Tree, o Options) {
	b.ReportAllocs()
	for b.Loop() {
		sum, err := Write(b.Context(), io.Discard, tree, o)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(sum.Raw)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tree.Len()), "ns/entry")
}

func synthetic(b *testing.B, size int) *Tree {
	b.Helper()
	data := words(size)
	tree := new(Tree)
	for i := range 3000 {
		must(b, tree.Put(File(fmt.Sprintf("lib/modules/6.12/kernel/drivers/d%d/m%d.ko", i%100, i), 0o644, data)))
	}
	return tree
}

func labTree(b *testing.B) *Tree {
	b.Helper()
	lab := os.Getenv("KSTAGE_LAB")
	if lab == "" {
		b.Skip("KSTAGE_LAB is not set: lab/fetch brings the module tree")
	}
	root, err := rootfs.Open(filepath.Join(lab, "tree-xz"))
	must(b, err)
	b.Cleanup(func() { root.Close() })
	tree := new(Tree)
	if _, err := tree.AddFS(root); err != nil {
		b.Fatal(err)
	}
	return tree
}
