//go:build unix

package preflight

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kstage/kstage/internal/kotest"
)

// paramTypes are those of module_param, each a parameter of its own name.
var moduleParamTypes = []string{"bool", "invbool", "bint", "byte", "short", "ushort", "int", "uint", "long", "ulong", "ullong", "hexint", "charp"}

// withParams gives the module a parameter of each type, an array and a string
// (include/linux/moduleparam.h; 64 bit):
//
//	struct kernel_param  name, module, operations, permissions 2 bytes, level 1, flags 1, value: 40 bytes
//	struct kparam_array  most 4 bytes, size of one 4, how many, operations, values: 32 bytes
//	struct kparam_string size 4 bytes, padding, text: 16 bytes
func withParams(s *moduleSpec) {
	const entry = 40
	names := append(append([]string{}, moduleParamTypes...), "list", "text", "dash_ed")
	var params, strings []byte
	values := make([]byte, 16*len(names)+64)
	for i, name := range names {
		typ, ops, value := name, "param_ops_"+name, int64(16*i)
		switch name {
		case "list":
			typ, ops, value = "array of int", "param_array_ops", int64(16*len(names))
			binary.LittleEndian.PutUint32(values[value:], 2)
			binary.LittleEndian.PutUint32(values[value+4:], 4)
			s.Relocs = append(s.Relocs, to(".values", uint64(value)+16, "param_ops_int", 0), to(".values", uint64(value)+24, ".values", int64(16*i)))
		case "text":
			typ, ops, value = "string", "param_ops_string", int64(16*len(names)+32)
			binary.LittleEndian.PutUint32(values[value:], 8)
			s.Relocs = append(s.Relocs, to(".values", uint64(value)+8, ".values", int64(16*i)))
		case "dash_ed":
			typ, ops = "int", "param_ops_int"
		}
		if s.symbol(ops) == nil {
			s.need(ops)
		}
		s.Modinfo = append(s.Modinfo, "parmtype="+name+":"+typ)
		at := uint64(entry * i)
		s.Relocs = append(s.Relocs, to("__param", at, ".names", int64(len(strings))), to("__param", at+16, ops, 0), to("__param", at+32, ".values", value))
		strings = append(append(strings, name...), 0)
		params = append(params, make([]byte, entry)...)
		params[at+26] = 0xff // level -1, as module_param has it
	}
	const alloc = elf.SHF_ALLOC
	s.Sections = append(s.Sections, kotest.Section{Name: "__param", Flags: alloc, Align: 8, Data: params},
		kotest.Section{Name: ".names", Flags: alloc, Data: strings}, kotest.Section{Name: ".values", Flags: alloc | elf.SHF_WRITE, Align: 8, Data: values})
}

// to is a relocation that writes an address.
func to(section string, at uint64, symbol string, addend int64) kotest.Reloc {
	return kotest.Reloc{Section: section, Offset: at, Type: uint32(elf.R_RISCV_64), Symbol: symbol, Addend: addend}
}

// paramCases give parameters of all types good and bad values.
func paramCases() []bootCase {
	values := []string{"", "=", "=1", "=0", "=y", "=N", "=on", "=of", "=true", "=2", "=-1", "=+1", "=010", "=08", "=0x", "=0xff", "=0xg", "=127", "=128", "=255", "=256",
		"=32767", "=32768", "=-32768", "=-32769", "=65535", "=65536", "=2147483647", "=2147483648", "=-2147483648", "=-2147483649", "=4294967295", "=4294967296",
		"=9223372036854775807", "=9223372036854775808", "=-9223372036854775808", "=-9223372036854775809", "=18446744073709551615", "=18446744073709551616",
		"=1x", "=--1", "=1_0", "=1.0", "=\"1\"", "=\" 1\"", "=0b1", "=0o7", "=-0", "=0X1F", "=+-1", "=-", "=+"}
	var params []string
	for _, typ := range moduleParamTypes {
		for _, v := range values {
			params = append(params, typ+v)
		}
	}
	for _, v := range []string{"", "=", "=1", "=1,2", "=1,2,3", "=1,x", "=1,", "=,1", "=,", "=x", "=1,99999999999", "=\"1, 2\"", "=1,2,x"} {
		params = append(params, "list"+v)
	}
	for _, v := range []string{"", "=", "=1234567", "=12345678", "=123456789", "=\"a b\""} {
		params = append(params, "text"+v)
	}
	params = append(params, "other", "other=1", "other=1 int=1", "other another", "int=x other", "other int=x", "int=x uint=y", "int=x bool=2", "bool=2 int=99999999999",
		"dash-ed=5", "dash_ed=x", "dash-ed=x", "-- int=x", "int=1 -- int=x", "int=1 -- other", "--", "int=1 --=3", "int=1 int=x", "INT=1", "int.x=1", "bootparams.int=x",
		"async_probe", "async_probe=x", "dyndbg", "dyndbg=+p", "dyndbg=\"func x +p\"", "\"int=1\"", "\"int=x y\"", "int=\"1", "charp=\"a b\" int=x", "charp=a\"b", "=1", "=",
		"list=1 list=2,x", "charp="+strings.Repeat("x", 700), "bool=yes", "bool=oN", "bool=oX", "bool=o", "bint=2", "bint=yes", "invbool=maybe",
		"int=1=2", "int==1", "srcversion=x", "module=1", "taint=1")
	cases := make([]bootCase, 0, len(params))
	for i, p := range params {
		cases = append(cases, bootCase{name: fmt.Sprintf("param%d", i), build: withParams, params: p})
	}
	return append(cases,
		bootCase{name: "params_none", build: withParams},
		bootCase{name: "params_without_any", params: "int=1"})
}
