package modinfo_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// FuzzRead: an error means no module and the other way round, and a file cannot
// make the reader hold much more than the limit.
func FuzzRead(f *testing.F) {
	plain, err := kotest.Build(everything)
	if err != nil {
		f.Fatal(err)
	}
	small, err := kotest.Build("elf 32 be mips\nextversions\nexport a\nneed b crc=1\nbuildid 01")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{plain, small, kotest.Gzip(plain), kotest.Zstd(small), kotest.XZ(small), kotest.XZ(plain[:99], plain[99:])} {
		f.Add(seed)
	}
	r := modinfo.Reader{MaxSize: 1 << 20, WithSignature: true, WithSections: true}
	short := modinfo.Reader{MaxSize: 1 << 20, WithSignature: true, WithSections: true, WithoutSymbols: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := r.Read(bytes.NewReader(data), int64(len(data)))
		if (m == nil) == (err == nil) {
			t.Fatalf("module %v, error %v", m, err)
		}
		part, err := short.Read(bytes.NewReader(data), int64(len(data)))
		if (part == nil) == (err == nil) || part == nil && m != nil {
			t.Fatalf("without symbols: module %v, error %v", part, err)
		}
		if m == nil {
			return
		}
		if m.Size > 1<<20 {
			t.Errorf("%d bytes in spite of the limit", m.Size)
		}
		m.Imports, m.Exports = nil, nil
		if diff := cmp.Diff(m, part); diff != "" {
			t.Error("with symbols -, without +:\n" + diff)
		}
		// the same bytes read from a file that is only known piece by piece
		if m.Compression == modinfo.None {
			if again, err := modinfo.Read(bytes.NewReader(data), int64(len(data))); err != nil || len(again.Fields) != len(m.Fields) {
				t.Errorf("read again: %v", err)
			}
		}
	})
}
