package modinfo_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// bigModule has 4 MiB between its beginning and what modinfo prints.
func bigModule(t *testing.T) (plain, packed []byte) {
	module := kotest.Module{
		Sections:  []kotest.Section{{Name: ".text", Data: bytes.Repeat([]byte("code"), 1<<20)}},
		Modinfo:   []string{"license=GPL", "alias=pci:v*"},
		BuildID:   []byte{1, 2, 3},
		Signature: &kotest.Signature{IDType: 1, KeyID: []byte{7}, Data: []byte{8}},
	}
	plain, err := module.Build()
	if err != nil {
		t.Fatal(err)
	}
	const block = 128 << 10
	var blocks [][]byte
	for rest := plain; len(rest) > 0; rest = rest[min(block, len(rest)):] {
		blocks = append(blocks, rest[:min(block, len(rest))])
	}
	return plain, kotest.XZ(blocks...)
}

// TestBlocks: of an xz file with many blocks only those are read that hold what
// is asked for.
func TestBlocks(t *testing.T) {
	plain, packed := bigModule(t)
	short := modinfo.Reader{WithoutSymbols: true, WithSignature: true, WithSections: true}
	want, err := short.Read(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	want.Compression = modinfo.XZ
	counted := &countReads{ReaderAt: bytes.NewReader(packed)}
	got, err := short.Read(counted, int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("plain -, packed +:\n" + diff)
	}
	if counted.bytes > int64(len(packed))/8 {
		t.Errorf("%d of %d bytes were read", counted.bytes, len(packed))
	}

	damaged := func(at int) []byte {
		b := bytes.Clone(packed)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name       string
		data       []byte
		full, part error
	}{
		{"damage where nobody looks", damaged(len(packed) / 2), modinfo.ErrPacking, nil},
		{"damage in the first block", damaged(100), modinfo.ErrPacking, modinfo.ErrPacking},
		{"damage in the last block", damaged(len(packed) - 600), modinfo.ErrPacking, modinfo.ErrPacking},
		{"damaged index", damaged(len(packed) - 40), modinfo.ErrPacking, modinfo.ErrPacking},
		{"cut-off file", packed[:len(packed)-4], modinfo.ErrPacking, modinfo.ErrPacking},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := read(c.data); !errors.Is(err, c.full) {
				t.Errorf("all of it: %v, want %v", err, c.full)
			}
			if m, err := short.Read(bytes.NewReader(c.data), int64(len(c.data))); !errors.Is(err, c.part) || (m == nil) == (err == nil) {
				t.Errorf("some of it: %v, want %v", err, c.part)
			}
		})
	}
	short.MaxSize = int64(len(plain)) - 1
	if _, err := short.Read(bytes.NewReader(packed), int64(len(packed))); !errors.Is(err, modinfo.ErrTooLarge) {
		t.Errorf("a byte too much: %v", err)
	}
}

// BenchmarkLargest reads what modinfo prints of the lab's largest module.
func BenchmarkLargest(b *testing.B) {
	for _, form := range []string{"plain", "xz", "zst", "gz"} {
		b.Run(form, func(b *testing.B) {
			names, err := filepath.Glob(filepath.Join(kotest.LabTree(b, form), "lib/modules/*/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*"))
			if err != nil || len(names) != 1 {
				b.Fatal(names, err)
			}
			f, err := os.Open(names[0])
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				b.Fatal(err)
			}
			r := modinfo.Reader{WithoutSymbols: true, WithSignature: true}
			for b.Loop() {
				if _, err := r.Read(f, info.Size()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleReader() {
	ko, err := kotest.Build("modinfo license=GPL\nsignature algo=1 hash=4 id=1 signer=Somebody keyid=0a0b c0ffee")
	if err != nil {
		fmt.Println(err)
		return
	}
	// what modinfo(8) prints needs no symbols, so most of a file is left unread
	r := modinfo.Reader{WithoutSymbols: true, WithSignature: true}
	m, err := r.Read(bytes.NewReader(ko), int64(len(ko)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Fields, m.Signature.Type, m.Signature.Signer, m.Signature.Hash)
	// Output: [{license GPL}] X509 Somebody sha256
}
