package kotest_test

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/internal/kotest"
)

func ExampleBuild() {
	module, err := kotest.Build(`
		elf 32 be mips
		modinfo license=GPL
		need printk crc=0xdeadbeef
	`)
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		fmt.Println(err)
		return
	}
	info, _ := f.Section(".modinfo").Data()
	fmt.Printf("%v %v %v %q\n", f.Class, f.Data, f.Machine, info)
	// Output: ELFCLASS32 ELFDATA2MSB EM_MIPS "license=GPL\x00"
}

func ExampleModule_Build() {
	m := kotest.Module{
		Bits:    64,
		Machine: elf.EM_X86_64,
		Symbols: []kotest.Symbol{
			{Kind: kotest.Export, Name: "foo", CRC: new(uint64(0x1234))},
			{Kind: kotest.Need, Name: "bar"},
		},
	}
	b, err := m.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		fmt.Println(err)
		return
	}
	names, _ := f.Section("__ksymtab_strings").Data()
	fmt.Printf("%q\n", names)
	// Output: "foo\x00\x00"
}
