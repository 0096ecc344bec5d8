package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// What the tables of a distribution's kernel take to read.
func BenchmarkLabTables(b *testing.B) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(b), "vmlinux"))
	if err != nil {
		b.Fatal(err)
	}
	m := must(read(data))
	for name, read := range map[string]func() bool{
		"exports":     func() bool { symbols, _ := findExports(m); return symbols != nil },
		"relocations": func() bool { types, _ := findPointerTable(m); return types != nil },
		"kallsyms":    func() bool { return findKallsyms(m) != nil },
		"all facts":   func() bool { f := new(Facts); f.AddImage(m, ""); return f.Exports != nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !read() {
					b.Fatal("nothing found")
				}
			}
		})
	}
}
