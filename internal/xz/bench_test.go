package xz

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/mikelolasagasti/xz"

	"github.com/kstage/kstage/internal/kotest"
)

// benchmark unpacks src with this package and with the library that it
// replaces.
func benchmark(b *testing.B, src []byte) {
	var d Decoder
	plain, err := d.DecodeAll(nil, src, limit)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("kstage", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			if plain, err = d.DecodeAll(plain[:0], src, limit); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mikelolasagasti", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			r, err := xz.NewReader(bytes.NewReader(src), 0)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLab(b *testing.B) {
	for _, name := range []string{"fs/ext4/ext4", "drivers/net/veth", "drivers/gpu/drm/amd/amdgpu/amdgpu"} {
		file := filepath.Join(kotest.LabTree(b, "xz"), "lib/modules", kotest.LabVersion(b), "kernel", name+".ko.xz")
		src, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(filepath.Base(name), func(b *testing.B) { benchmark(b, src) })
	}
}

// BenchmarkSymbols needs no lab and no xz: literals and matches of all kinds,
// in random order, which is the worst for the processor.
func BenchmarkSymbols(b *testing.B) {
	benchmark(b, randomFile(1, 200<<10))
}
