package modinfo_test

import (
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// TestAgainstDebugELF reads every tenth of the lab's modules and compares with
// what debug/elf finds, once from a file (where only pieces are read) and once
// from memory by way of gzip.
func TestAgainstDebugELF(t *testing.T) {
	r := modinfo.Reader{WithSections: true}
	for i, path := range modules(t, kotest.LabTree(t, "plain")) {
		if i%10 != 0 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := oracle(t, data)
		got, err := modinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Signature == nil {
			t.Errorf("%s: no signature", path)
		}
		got.Signature = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: debug/elf -, from the file +:\n%s", path, diff)
		}
		packed := kotest.Gzip(data)
		got, err = r.Read(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		want.Compression = modinfo.Gzip
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: debug/elf -, from memory +:\n%s", path, diff)
		}
	}
}

func modules(t testing.TB, dir string) []string {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(d.Name(), ".ko") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatal("no modules below ", dir, err)
	}
	return paths
}

// oracle gathers the same facts by the standard library.
func oracle(t *testing.T, data []byte) *modinfo.Module {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	m := &modinfo.Module{Size: int64(len(data)), Class: f.Class, Data: f.Data, Machine: f.Machine}
	content := func(name string) []byte {
		s := f.Section(name)
		if s == nil {
			return nil
		}
		b, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, s := range bytes.Split(content(".modinfo"), []byte{0}) {
		if k, v, _ := strings.Cut(string(s), "="); len(s) > 0 {
			m.Fields = append(m.Fields, modinfo.Field{Key: k, Value: v})
		}
	}
	for _, s := range f.Sections[1:] {
		m.Sections = append(m.Sections, modinfo.Section{Name: s.Name, Size: s.Size})
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	versions := content("__versions")
	record := func(name string) (crc uint64, ok bool) {
		for v := versions; len(v) >= 64; v = v[64:] {
			if n, _, _ := bytes.Cut(v[8:64], []byte{0}); string(n) == name {
				return f.ByteOrder.Uint64(v), true
			}
		}
		return 0, false
	}
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF && s.Name != "" {
			imp := modinfo.Import{Name: s.Name}
			imp.CRC, _ = record(s.Name)
			if elf.ST_BIND(s.Info) == elf.STB_WEAK {
				imp.Bind = modinfo.Weak
			}
			m.Imports = append(m.Imports, imp)
		}
		if name, ok := strings.CutPrefix(s.Name, "__crc_"); ok {
			crc := s.Value
			if s.Section != elf.SHN_ABS {
				b, err := f.Sections[s.Section].Data()
				if err != nil {
					t.Fatal(err)
				}
				crc = uint64(f.ByteOrder.Uint32(b[s.Value:]))
			}
			m.Exports = append(m.Exports, modinfo.Export{Name: name, CRC: crc})
		}
	}
	for v := versions; len(v) >= 64; v = v[64:] {
		n, _, _ := bytes.Cut(v[8:64], []byte{0})
		if !slices.ContainsFunc(m.Imports, func(i modinfo.Import) bool { return i.Name == string(n) }) {
			m.Imports = append(m.Imports, modinfo.Import{Name: string(n), Bind: modinfo.Listed, CRC: f.ByteOrder.Uint64(v)})
		}
	}
	if note := content(".note.gnu.build-id"); len(note) > 16 {
		m.BuildID = note[16:]
	}
	return m
}

// TestWithoutCRCs: on every module of the lab the short way finds the same names
// as the whole symbol table.
func TestWithoutCRCs(t *testing.T) {
	full, short := modinfo.Reader{}, modinfo.Reader{WithoutCRCs: true}
	var size, bytesRead int64
	for _, path := range modules(t, kotest.LabTree(t, "plain")) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		counted := &countReads{ReaderAt: f}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		want, err := full.Read(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		got, err := short.Read(counted, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		size, bytesRead = size+info.Size(), bytesRead+counted.bytes
		for _, m := range []*modinfo.Module{want, got} {
			for i := range m.Exports {
				m.Exports[i].CRC = 0
			}
			slices.SortFunc(m.Exports, func(a, b modinfo.Export) int { return strings.Compare(a.Name, b.Name) })
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: in full -, without CRCs +:\n%s", path, diff)
		}
	}
	t.Logf("%d of %d bytes were read", bytesRead, size)
	if bytesRead > size/5 {
		t.Errorf("%d of %d bytes were read, at most a fifth is wanted", bytesRead, size)
	}
}

// countReads counts the bytes that are read.
type countReads struct {
	io.ReaderAt
	bytes int64
}

func (c *countReads) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, off)
	c.bytes += int64(n)
	return n, err
}

// TestWithoutSymbols: what modinfo prints needs but little of a module's file.
func TestWithoutSymbols(t *testing.T) {
	full := modinfo.Reader{WithSignature: true}
	short := modinfo.Reader{WithSignature: true, WithoutSymbols: true}
	var size, bytesRead int64
	for i, path := range modules(t, kotest.LabTree(t, "plain")) {
		if i%10 != 0 {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		counted := &countReads{ReaderAt: f}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		want, err := full.Read(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		got, err := short.Read(counted, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		size, bytesRead = size+info.Size(), bytesRead+counted.bytes
		want.Imports, want.Exports = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: with symbols -, without +:\n%s", path, diff)
		}
	}
	if bytesRead > size/20 {
		t.Errorf("%d of %d bytes were read, at most a twentieth is wanted", bytesRead, size)
	}
}
