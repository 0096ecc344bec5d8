package elf64

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

const module = `elf 64 le riscv flags=0x1
modinfo license=GPL
define f .text value=0 size=4 type=2 bind=global
need printk crc=0x12345678
reloc .text 0 R_RISCV_CALL_PLT printk 8
`

// The standard library's reader is the reference.
func TestParse(t *testing.T) {
	data := kotest.Must(t, module)
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_REL || f.Sections[f.Names].Name != ".shstrtab" || f.Machine != elf.EM_RISCV || f.Flags != 1 || len(f.Sections) != len(want.Sections) {
		t.Fatalf("machine %v, flags %d, %d sections", f.Machine, f.Flags, len(f.Sections))
	}
	for i, w := range want.Sections {
		s := f.Sections[i]
		got := elf.SectionHeader{Name: s.Name, Type: s.Type, Flags: s.Flags, Addr: s.Addr, Offset: s.Off, Size: s.Size,
			Link: s.Link, Info: s.Info, Addralign: s.Align, Entsize: s.EntSize, FileSize: s.Size}
		if got != w.SectionHeader {
			t.Errorf("section %d: got %+v, want %+v", i, got, w.SectionHeader)
		}
	}
	table := f.Symtab()
	symbols, strings := Symbols(f.Content(table)), f.Content(f.Linked(table.Link))
	names, err := want.Symbols()
	if err != nil || symbols.Len() != len(names)+1 {
		t.Fatalf("%d symbols, want one more than %d; %v", symbols.Len(), len(names), err)
	}
	for i, w := range names {
		s := symbols.At(i + 1)
		if String(strings, s.Name) != w.Name || s.Value != w.Value || s.Size != w.Size || s.Bind() != elf.ST_BIND(w.Info) ||
			s.Type() != elf.ST_TYPE(w.Info) || elf.SectionIndex(s.Section) != w.Section {
			t.Errorf("symbol %d: got %+v, want %+v", i+1, s, w)
		}
	}
	relas := Relas(f.Content(f.Section(".rela.text")))
	if relas.Len() != 1 || relas.Type(0) != uint32(elf.R_RISCV_CALL_PLT) {
		t.Fatalf("%d relocations, the first %+v", relas.Len(), relas.At(0))
	}
	if r := relas.At(0); r.Addend != 8 || String(strings, symbols.At(int(r.Symbol)).Name) != "printk" {
		t.Errorf("relocation %+v", r)
	}
}

func FuzzParse(f *testing.F) {
	data, err := kotest.Build(module)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		if (err == nil) != (o != nil) {
			t.Fatal(o, err)
		}
		if err != nil {
			return
		}
		for i := range o.Sections {
			s := &o.Sections[i]
			content := o.Content(s)
			for _, n := range []int{0, Symbols(content).Len() - 1} {
				if n >= 0 && n < Symbols(content).Len() {
					String(content, Symbols(content).At(n).Name)
				}
			}
			if n := Relas(content).Len(); n > 0 && Relas(content).At(n-1).Type != Relas(content).Type(n-1) {
				t.Fatal("two readings of one type")
			}
			o.Linked(s.Link)
		}
	})
}
