package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kstage/kstage/internal/kotest"
)

func TestAddSymvers(t *testing.T) {
	want := map[string]Export{
		"printk": {0x12345678, true, false, true, "", "vmlinux"},
		"secret": {0xffffffff, true, true, true, "NS", "vmlinux"},
	}
	modules := map[string]Export{"helper": {0x9, true, true, true, "", "drivers/a/a"}}
	for name, text := range map[string]string{
		"namespace last": "0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0xffffffff\tsecret\tvmlinux\tEXPORT_SYMBOL_GPL\tNS\n0x00000009\thelper\tdrivers/a/a\tEXPORT_SYMBOL_GPL\t\n",
		"third":          "0x12345678\tprintk\t\tvmlinux\tEXPORT_SYMBOL\n0xffffffff\tsecret\tNS\tvmlinux\tEXPORT_SYMBOL_GPL\r\n0x00000009\thelper\t\tdrivers/a/a\tEXPORT_SYMBOL_GPL\n",
	} {
		f := new(Facts)
		if err := f.AddSymvers(strings.NewReader(text), "Module.symvers"); err != nil || !maps.Equal(f.Exports, want) || !maps.Equal(f.ModuleExports, modules) {
			t.Errorf("%s: %v, %v, %v", name, f.Exports, f.ModuleExports, err)
		}
		if f.ExportsFrom != (Origin{FromSymvers, "Module.symvers", ""}) {
			t.Errorf("%s: from %v", name, f.ExportsFrom)
		}
	}
	// Four columns, and no MODVERSIONS.
	f := new(Facts)
	if err := f.AddSymvers(strings.NewReader("0x00000000\ta\tvmlinux\tEXPORT_UNUSED_SYMBOL_GPL\n0x00000000\tb\tm.ko\tEXPORT_SYMBOL"), ""); err != nil {
		t.Fatal(err)
	}
	if f.Exports["a"] != (Export{0, false, true, true, "", "vmlinux"}) || f.ModuleExports["b"] != (Export{0, false, false, true, "", "m"}) {
		t.Errorf("%v, %v", f.Exports, f.ModuleExports)
	}
	// One of modules that were built outside adds to what is there.
	if err := f.AddSymvers(strings.NewReader("0x00000001\tc\tout/c\tEXPORT_SYMBOL\t\n0x00000001\tb\tout/b\tEXPORT_SYMBOL\t\n"), "extra"); err != nil {
		t.Fatal(err)
	}
	if len(f.Exports) != 1 || f.ExportsFrom.File != "" || len(f.ModuleExports) != 2 || f.ModuleExports["b"].Provider != "m" || !f.ModuleExports["c"].HasCRC {
		t.Errorf("%v, %v", f.Exports, f.ModuleExports)
	}
}

func TestAddSymversErrors(t *testing.T) {
	for text, want := range map[string]string{
		"0x1\ta\tvmlinux\tEXPORT_SYMBOL\nhello\n":       "symbol versions: line 2: 1 columns divided by tabs, not 4 or 5",
		"0x1 a vmlinux EXPORT_SYMBOL":                   "line 1: 1 columns",
		"1\ta\tvmlinux\tEXPORT_SYMBOL":                  `line 1: "1" is no checksum`,
		"0x123456789\ta\tvmlinux\tEXPORT_SYMBOL":        `"0x123456789" is no checksum`,
		"0x1\t\tvmlinux\tEXPORT_SYMBOL":                 "name, module or kind of export is missing",
		"0x1\ta\tvmlinux\tEXPORT_SYMBOL\tNS\tmore":      "6 columns",
		"0x1\ta" + strings.Repeat("x", 2*maxSymbolLine): "line 1: longer than 4096 bytes",
	} {
		f := new(Facts)
		if err := f.AddSymvers(strings.NewReader(text), ""); err == nil || !strings.Contains(err.Error(), want) || f.Exports != nil {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
	boom := errors.New("boom")
	if err := new(Facts).AddSymvers(iotest.ErrReader(boom), ""); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

// systemMap has enough lines to be one.
func systemMap(lines ...string) string {
	var b strings.Builder
	for i := range stubSymbols {
		fmt.Fprintf(&b, "ffffffff8000%04x t filler_%d\n", i, i)
	}
	return b.String() + strings.Join(lines, "\n") + "\n"
}

func TestAddSystemMap(t *testing.T) {
	f := new(Facts)
	err := f.AddSystemMap(strings.NewReader(systemMap("ffffffff801cd588 r __ksymtab_printk", "0000000012345678 A __crc_printk",
		"ffffffff801cd5a0 r __ksymtab_other", "ffffffff801cd5a8 r __crc_other", "0000000000000000 r __ksymtab_of_module\t[module]")), "System.map")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Export{"printk": {0x12345678, true, false, false, "", "vmlinux"}, "other": {Provider: "vmlinux"}}
	if !maps.Equal(f.Exports, want) || f.ExportsFrom != (Origin{FromMap, "System.map", ""}) {
		t.Errorf("%v from %v", f.Exports, f.ExportsFrom)
	}
	// Module.symvers tells more, and stays.
	if err := f.AddSymvers(strings.NewReader("0x00000001\ta\tvmlinux\tEXPORT_SYMBOL\t\n"), ""); err != nil || len(f.Exports) != 1 {
		t.Errorf("%v, %v", f.Exports, err)
	}
	if err := f.AddSystemMap(strings.NewReader(systemMap("ffffffff801cd588 r __ksymtab_printk")), ""); err != nil || f.ExportsFrom.Source != FromSymvers {
		t.Errorf("%v, %v", f.ExportsFrom, err)
	}
}

func TestAddSystemMapErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "system map: it is empty",
		"ffffffff80000000 T _start\nhello\n":  `system map: line 2: "hello" is not ADDRESS TYPE NAME`,
		"ffffffff80000000 TT _start":          "line 1",
		"ffffffff80000000 T ":                 "line 1",
		"fffffffff80000000 T _start":          "line 1",
		strings.Repeat("x", maxSymbolLine+10): "line 1: longer than 4096 bytes",
	} {
		f := new(Facts)
		if err := f.AddSystemMap(strings.NewReader(text), ""); err == nil || !strings.Contains(err.Error(), want) || f.Exports != nil {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

// Debian's System.map has one line. It is no error, and tells nothing.
func TestAddSystemMapStub(t *testing.T) {
	f := new(Facts)
	stub := "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"
	if err := f.AddSystemMap(strings.NewReader(stub), "/boot/System.map"); err != nil {
		t.Fatal(err)
	}
	if f.Exports != nil || len(f.Notes) != 1 || f.Notes[0].File != "/boot/System.map" || f.Notes[0].Text != "it is only a stub, and tells nothing" {
		t.Errorf("%v, %+v", f.Exports, f.Notes)
	}
}

func TestLabSymvers(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), "Module.symvers"))
	if err != nil {
		t.Fatal(err)
	}
	f := new(Facts)
	if err := f.AddSymvers(bytes.NewReader(data), "Module.symvers"); err != nil {
		t.Fatal(err)
	}
	if n, more := kotest.LabExports(t); len(f.Exports) != n || len(f.ModuleExports) != more || n < 10000 || more < 10000 {
		t.Errorf("%d symbols of the kernel, %d of modules", len(f.Exports), len(f.ModuleExports))
	}
}
