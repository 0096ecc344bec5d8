package depmod_test

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

func BenchmarkScan(b *testing.B) {
	for _, form := range []string{"plain", "zst", "xz", "gz"} {
		b.Run(form, func(b *testing.B) {
			root, version := kotest.LabTree(b, form), kotest.LabVersion(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := depmod.Scan(context.Background(), os.DirFS(root), "lib/modules/"+version, depmod.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFiles(b *testing.B) {
	root, version := kotest.LabTree(b, "zst"), kotest.LabVersion(b)
	tree, err := depmod.Scan(context.Background(), os.DirFS(root), "lib/modules/"+version, depmod.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		files, _ := tree.Files()
		for _, f := range files {
			if err := f.Write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	}
}
