package kotest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `
modinfo license=GPL
modinfo alias=pci:v00001AF4d*      # the comment does not count
modinfo "odd=a # b\x00\x00last"
export zoo crc=0x12345678 gpl ns=FOO
export abel crc=0x5 kcrctab
define helper .text value=4 size=2 type=2 bind=local
define init_module .text
need printk crc=0xdeadbeef
weak bar
version module_layout crc=0x1
label 3
buildid 0102030405060708
section .foo flags=AW align=16 text="hi\x00" 0102
section .bss2 type=8 size=0x40
reloc .foo 2 7 printk -4
rel .foo 0 7 .text
`

// targets are the classes, orders and machines that differ in layout.
var targets = []string{"64 le riscv", "32 le riscv", "64 le x86_64", "64 be s390", "32 be ppc", "64 le aarch64", "32 le 40", "64 le loongarch"}

func TestDebugELFReadsIt(t *testing.T) {
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			f, err := elf.NewFile(bytes.NewReader(Must(t, "elf "+target+"\n"+sample)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Type != elf.ET_REL {
				t.Errorf("type %v", f.Type)
			}
			if got, want := header(f), target; !strings.HasPrefix(want, got) {
				t.Errorf("header %q, want %q", got, want)
			}
			checkSymbols(t, f)
			checkSections(t, f)
		})
	}
}

func header(f *elf.File) string {
	order := "le"
	if f.ByteOrder == binary.BigEndian {
		order = "be"
	}
	return fmt.Sprintf("%s %s ", strings.TrimPrefix(f.Class.String(), "ELFCLASS"), order)
}

func checkSymbols(t *testing.T, f *elf.File) {
	t.Helper()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var globals []string
	crc := map[string]elf.Symbol{}
	for _, s := range symbols {
		if elf.ST_BIND(s.Info) != elf.STB_LOCAL {
			globals = append(globals, s.Name)
		} else if len(globals) > 0 {
			t.Errorf("local symbol %s after %v", s.Name, globals)
		}
		crc[s.Name] = s
	}
	want := []string{"__this_module", "zoo", "__crc_zoo", "abel", "init_module", "printk", "bar"}
	if !slices.Equal(globals, want) {
		t.Errorf("global symbols %v, want %v", globals, want)
	}
	if s := crc["__crc_zoo"]; s.Section != elf.SHN_ABS || s.Value != 0x12345678 {
		t.Errorf("__crc_zoo: %+v", s)
	}
	s := crc["__crc_abel"]
	table := f.Sections[s.Section]
	data, _ := table.Data()
	if got := f.ByteOrder.Uint32(data[s.Value:]); table.Name != "__kcrctab" || got != 5 {
		t.Errorf("__crc_abel: %d in %s", got, table.Name)
	}
	if s := crc["bar"]; elf.ST_BIND(s.Info) != elf.STB_WEAK || s.Section != elf.SHN_UNDEF {
		t.Errorf("bar: %+v", s)
	}
	if n := strings.Count(fmt.Sprint(symbols), ".L0 "); n != 3 {
		t.Errorf("%d labels, want 3", n)
	}
}

func checkSections(t *testing.T, f *elf.File) {
	t.Helper()
	for name, want := range map[string]string{
		".foo":              "hi\x00\x01\x02",
		".modinfo":          "license=GPL\x00alias=pci:v00001AF4d*\x00odd=a # b\x00\x00last\x00",
		"__ksymtab_strings": "zoo\x00FOO\x00abel\x00\x00",
	} {
		got, err := f.Section(name).Data()
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, want %q (%v)", name, got, want, err)
		}
	}
	versions, _ := f.Section("__versions").Data()
	if len(versions) != 128 {
		t.Fatalf("__versions: %d bytes, want two records of 64", len(versions))
	}
	crcSize := map[elf.Class]int{elf.ELFCLASS32: 4, elf.ELFCLASS64: 8}[f.Class]
	if got := string(versions[crcSize:64]); got != "printk"+strings.Repeat("\x00", 58-crcSize) {
		t.Errorf("__versions: first name %q", got)
	}
	module := f.Section(".gnu.linkonce.this_module")
	if module.Flags != elf.SHF_ALLOC|elf.SHF_WRITE || module.Type != elf.SHT_PROGBITS || module.Size == 0 {
		t.Errorf("this_module: %+v", module.SectionHeader)
	}
	if bss := f.Section(".bss2"); bss.Type != elf.SHT_NOBITS || bss.Size != 0x40 || bss.Flags != elf.SHF_ALLOC {
		t.Errorf(".bss2: %+v", bss.SectionHeader)
	}
	for name, typ := range map[string]elf.SectionType{".rela.foo": elf.SHT_RELA, ".rel.foo": elf.SHT_REL} {
		s := f.Section(name)
		if s.Type != typ || f.Sections[s.Link].Type != elf.SHT_SYMTAB || f.Sections[s.Info].Name != ".foo" {
			t.Errorf("%s: %+v", name, s.SectionHeader)
		}
	}
}

// The relocations that fill __ksymtab have to lead from a name to its strings.
func TestExportRelocations(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(Must(t, "export b ns=N\nexport a\n")))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := f.Section(".rela__ksymtab").Data()
	var got []string
	for ; len(data) > 0; data = data[24:] {
		offset, info := f.ByteOrder.Uint64(data), f.ByteOrder.Uint64(data[8:])
		got = append(got, fmt.Sprintf("%d %v %s", offset, elf.R_RISCV(uint32(info)), symbols[info>>32-1].Name))
	}
	want := []string{
		"0 R_RISCV_64 a", "8 R_RISCV_64 __kstrtab_a", "16 R_RISCV_64 __kstrtabns_a",
		"24 R_RISCV_64 b", "32 R_RISCV_64 __kstrtab_b", "40 R_RISCV_64 __kstrtabns_b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestVariants(t *testing.T) {
	has := func(text string) func(string) bool {
		f, err := elf.NewFile(bytes.NewReader(Must(t, text)))
		if err != nil {
			t.Fatal(err)
		}
		return func(name string) bool { return f.Section(name) != nil }
	}
	if section := has("need a crc=1\nextversions"); section("__versions") || !section("__version_ext_crcs") || !section("__version_ext_names") {
		t.Error("extversions: wrong sections")
	}
	if section := has("need a\nstripped"); section(".symtab") || section(".strtab") {
		t.Error("stripped: there is a symbol table")
	}
	if section := has("this_module none"); section(".gnu.linkonce.this_module") {
		t.Error("this_module none: there is one")
	}
	b := Must(t, `signature algo=1 hash=4 id=2 signer=me keyid=0a0b 010203`)
	want := "me\x0a\x0b\x01\x02\x03" + "\x01\x04\x02\x02\x02\x00\x00\x00" + "\x00\x00\x00\x03" + "~Module signature appended~\n"
	if !bytes.HasSuffix(b, []byte(want)) {
		t.Errorf("signature: %q", b[len(b)-60:])
	}
}

func TestBadText(t *testing.T) {
	for text, want := range map[string]string{
		"modinfo a=b\nblah":                   `module text: line 2: unknown word "blah"`,
		"need":                                "module text: line 1: too few words",
		"need a b":                            `module text: line 1: unexpected ["b"]`,
		"need a crc=x":                        `module text: line 1: "x" is not a number of 64 bits`,
		"elf 16 le riscv":                     `module text: line 1: class "16" is neither 32 nor 64`,
		"elf 64 xe riscv":                     `module text: line 1: byte order "xe" is neither le nor be`,
		"elf 64 le pdp99":                     `module text: line 1: machine "pdp99" is not known to debug/elf`,
		`need "a`:                             `module text: line 1: quotes do not match in "\"a"`,
		"section .a xyz":                      `module text: line 1: "xyz" is not hex`,
		"section .a flags=Q":                  `module text: line 1: section flag 'Q' is none of AWXMS`,
		"define a .none":                      "symbol a: no section .none",
		"reloc .text 0 1 nobody":              "relocation of .text+0x0: no symbol nobody",
		"reloc .none 0 1":                     "relocation of .none+0x0: no such section",
		"reloc .text 0 R_MISSPELT":            `module text: line 1: relocation type "R_MISSPELT" is not known for EM_RISCV: use its number`,
		"version " + longName + " crc=1":      "version of " + longName + ": the name needs 57 bytes, a record has 56",
		"modinfo \"a\" \"b\"":                 "module text: line 1: modinfo takes one quoted string, not 2",
		"define a * bind=none":                `module text: line 1: binding "none" is not local, global or weak`,
		"this_module many":                    `module text: line 1: "many" is not a number of 31 bits`,
		"elf 32 le riscv\nsection .a size=-1": `module text: line 2: "-1" is not a number of 64 bits`,
	} {
		b, err := Build(text)
		if err == nil || err.Error() != want || b != nil {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

var longName = strings.Repeat("n", 56)

// kmod has its own reader of ELF: the reference tools have to see in the files
// what the text says.
func TestReferenceReadsIt(t *testing.T) {
	lab := Lab(t)
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			dir := Dir(t, map[string]string{
				"lib/modules/1.0/modules.order": "k/user.ko\nk/owner.ko\n",
				"lib/modules/1.0/k/owner.ko.xz": "elf " + target + "\nexport zoo crc=1\nexport abel crc=2 kcrctab\n",
				"lib/modules/1.0/k/plain.ko":    "elf " + target + "\nexport uncounted\n",
				"lib/modules/1.0/k/user.ko.zst": "elf " + target + "\nneed abel crc=2\nweak uncounted\nlabel 5\nmodinfo alias=x-y\n",
			})
			out, err := exec.Command(filepath.Join(lab, "depmod-34"), "-n", "-b", dir, "-m", "lib/modules", "1.0").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			const want = "k/user.ko.zst: k/plain.ko k/owner.ko.xz\nk/owner.ko.xz:\nk/plain.ko:\n"
			if !strings.HasPrefix(string(out), want) || !strings.Contains(string(out), "\nalias x-y user\n") {
				t.Errorf("depmod said\n%s", out)
			}
			for _, symbol := range []string{"zoo owner", "abel owner", "uncounted plain"} {
				if !strings.Contains(string(out), "alias symbol:"+symbol+"\n") {
					t.Errorf("depmod does not know symbol:%s:\n%s", symbol, out)
				}
			}
			file := filepath.Join(dir, "sample.ko")
			if err := os.WriteFile(file, Must(t, "elf "+target+"\n"+sample+"signature id=1 hash=4 signer=me keyid=0a 01"), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err = exec.Command(filepath.Join(lab, "modinfo-34"), file).CombinedOutput()
			info := "license:        GPL\nalias:          pci:v00001AF4d*\nodd:            a # b\n" +
				"last:           \nsig_id:         X509\nsigner:         me\nsig_key:        0A\nsig_hashalgo:   sha256\nsignature:      01\n"
			if err != nil || string(out) != "filename:       "+file+"\n"+info {
				t.Errorf("modinfo (%v) said\n%s", err, out)
			}
		})
	}
}
