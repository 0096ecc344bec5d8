package slim_test

import (
	"bytes"
	"debug/elf"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/slim"
)

// bad are modules whose parts contradict each other, by their defect, and what is
// said of them.
func bad(t testing.TB) map[string]struct {
	data []byte
	want string
} {
	plain, groups, numbers := kotest.Must(t, full), withGroups(t), withNumbers(t)
	signed := kotest.Must(t, full+"signature id=2 0102\n")
	field := func(data []byte, section string, at int, value uint32) []byte {
		return patch(data, section, func(_ *elf64.File, _ *elf64.Section, b []byte) { elf64.Order.PutUint32(b[at:], value) })
	}
	content := func(data []byte, section string, at int, value ...byte) []byte {
		return patch(data, section, func(f *elf64.File, s *elf64.Section, _ []byte) { copy(f.Content(s)[at:], value) })
	}
	file := func(data []byte, at int, value ...byte) []byte {
		data = bytes.Clone(data)
		copy(data[at:], value)
		return data
	}
	const off, size, align, entsize = 24, 32, 48, 56
	const huge = 0xfffffff0
	return map[string]struct {
		data []byte
		want string
	}{
		"empty":                    {nil, "not an ELF file"},
		"32 bits":                  {kotest.Must(t, "elf 32 le riscv\nlabel 3\n"), "not a 64-bit"},
		"big endian":               {kotest.Must(t, "elf 64 be s390\nlabel 3\n"), "little-endian"},
		"cut off":                  {plain[:len(plain)-1], "the section table"},
		"an executable":            {file(plain, 16, byte(elf.ET_EXEC)), "not a relocatable object"},
		"program headers":          {file(plain, 56, 1), "program headers"},
		"stripped":                 {kotest.Must(t, "elf 64 le riscv\nmodinfo a=b\nstripped\n"), "no symbol table"},
		"first section":            {file(plain, int(mustTable(plain)), 1), "not empty"},
		"table in the header":      {file(plain, 40, 8, 0, 0, 0, 0, 0, 0, 0), ""},
		"overlapping sections":     {field(plain, ".wide", off, uint32(offset(plain, ".BTF"))), "overlaps"},
		"section over the header":  {field(plain, ".BTF", off, 60), "overlaps the ELF header"},
		"section over the table":   {field(plain, ".BTF", off, uint32(mustTable(plain))), "overlaps the section table"},
		"section outside":          {field(plain, ".BTF", off, huge), "do not lie inside the file"},
		"section too long":         {field(plain, ".BTF", size, huge), "do not lie inside the file"},
		"crooked alignment":        {field(plain, ".text", align, 3), "no power of two"},
		"link to nowhere":          {field(plain, ".text", link, huge), "there is no section"},
		"name outside":             {field(plain, ".text", 0, huge), "lies outside the names"},
		"two symbol tables":        {field(plain, ".BTF", 4, 2), "both symbol tables"},
		"names that are none":      {field(plain, ".strtab", 4, 1), "not a table of names"},
		"names without end":        {content(plain, ".strtab", int(length(plain, ".strtab"))-1, 'x'), "begin and end with NUL"},
		"section names":            {content(plain, ".shstrtab", 0, 'x'), "begin and end with NUL"},
		"half a symbol":            {field(plain, ".symtab", size, uint32(length(plain, ".symtab"))-1), "no whole number"},
		"symbols of 16 bytes":      {field(plain, ".symtab", entsize, 16), "entries of 16 bytes"},
		"first symbol":             {content(plain, ".symtab", 0, 1), "empty symbol"},
		"too many local":           {field(plain, ".symtab", info, huge), "said to be local"},
		"no local":                 {field(plain, ".symtab", info, 0), "said to be local"},
		"one local too few":        {field(plain, ".symtab", info, 2), "not apart"},
		"symbol's name":            {content(plain, ".symtab", elf64.SymbolSize, 0xff, 0xff, 0xff, 0xff), "lies outside the names"},
		"symbol's section":         {content(plain, ".symtab", elf64.SymbolSize+6, 0xf0), "there is no section 240"},
		"number in no table":       {content(plain, ".symtab", elf64.SymbolSize+6, 0xff, 0xff), "in no table"},
		"symbol in debug section":  {kotest.Must(t, full+"define global .debug_info\n"), "it is needed, and lies in"},
		"relocation to debug info": {kotest.Must(t, full+"reloc .text 8 R_RISCV_32 .Ldebug\n"), "it is needed, and lies in"},
		"relocation's symbol":      {content(plain, ".rela.text", 12, 0xff, 0xff), "there is no symbol 65535"},
		"relocation's section":     {field(plain, ".rela.text", info, huge), "there is no section"},
		"relocation of nothing":    {field(plain, ".rela.text", info, 0), "relocations for section 0"},
		"relocation's symbols":     {field(plain, ".rela.text", link, 1), "does not belong to the symbol table"},
		"relocation of 12 bytes":   {field(plain, ".rela.text", entsize, 12), "entries of 12 bytes"},
		"unknown use of symbols": {patch(plain, ".BTF", func(f *elf64.File, _ *elf64.Section, b []byte) { put(b, link, f, ".symtab") }),
			"how it uses the symbol table is not known"},
		"unknown use of names": {patch(plain, ".BTF", func(f *elf64.File, _ *elf64.Section, b []byte) { put(b, link, f, ".strtab") }),
			"how it uses the names is not known"},
		"linked to debug info": {patch(plain, ".BTF", func(f *elf64.File, _ *elf64.Section, b []byte) { put(b, link, f, ".debug_info") }),
			"it is linked to section"},
		"about debug info": {patch(plain, ".BTF", func(f *elf64.File, _ *elf64.Section, b []byte) {
			put(b, info, f, ".debug_info")
			b[8] |= byte(elf.SHF_INFO_LINK)
		}), "it is about section"},
		"member of no section":     {content(groups, ".group", 4, 0xff, 0xff), "that it has in the group"},
		"group without flags":      {field(groups, ".group", size, 0), "without flags"},
		"group's symbol":           {field(groups, ".group", info, huge), "that names it"},
		"too few numbers":          {field(numbers, ".symtab_shndx", size, 8), "8 bytes for"},
		"two tables of numbers":    {field(numbers, ".BTF", 4, uint32(elf.SHT_SYMTAB_SHNDX)), "both have numbers"},
		"number of no section":     {content(numbers, ".symtab_shndx", 4, 0xf0), "there is no section 240"},
		"signature without room":   {[]byte("short~Module signature appended~\n"), "no room for the signature"},
		"signature too long":       {file(signed, len(signed)-32, 0x7f), "the signature claims"},
		"signature over the table": {file(signed, len(signed)-30, 1), "the section table"},
	}
}

func mustTable(data []byte) uint64 { return elf64.Order.Uint64(data[40:]) }

func offset(data []byte, name string) (at uint64) {
	patch(data, name, func(_ *elf64.File, s *elf64.Section, _ []byte) { at = s.Off })
	return at
}

func length(data []byte, name string) (n uint64) {
	patch(data, name, func(_ *elf64.File, s *elf64.Section, _ []byte) { n = s.Size })
	return n
}

func TestBad(t *testing.T) {
	for name, tt := range bad(t) {
		t.Run(name, func(t *testing.T) {
			out, report, err := slim.Strip(tt.data)
			if err == nil || out != nil || report != (slim.Report{}) {
				t.Fatalf("%d bytes, %+v, %v", len(out), report, err)
			}
			if !strings.HasPrefix(err.Error(), "strip: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// What comes out is well formed and has all that was to be kept, or there is an error.
func FuzzStrip(f *testing.F) {
	for _, data := range kinds(f) {
		f.Add(data)
	}
	for _, b := range bad(f) {
		f.Add(b.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, report, err := slim.Strip(data)
		if (err == nil) != (out != nil) {
			t.Fatal(len(out), err)
		}
		if err != nil {
			return
		}
		if err := check(data, out, report); err != nil {
			t.Fatal(err)
		}
		if again, report, err := slim.Strip(out); err != nil || report.Changed() || !bytes.Equal(again, out) {
			t.Fatalf("once more: %+v, %v", report, err)
		}
	})
}
