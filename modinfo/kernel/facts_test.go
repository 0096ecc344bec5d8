package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	testRelease  = "6.6.1-test"
	testVermagic = "6.6.1-test SMP mod_unload modversions riscv"
)

// certificate makes what has the outer form of one.
func certificate(size int) []byte {
	c := bytes.Repeat([]byte{0x55}, size)
	copy(c, []byte{0x30, 0x82, byte((size - 4) >> 8), byte(size - 4), 0x30, 0x82, 1, 0, 0xa0, 3, 2, 1, 2})
	return c
}

// keyList lays certificates out as certs/system_certificates.S does; own is how
// many bytes of them are for modules.
func keyList(align, own int, certificates ...[]byte) []byte {
	list := bytes.Join(certificates, nil)
	size := len(list)
	pad := func() {
		for len(list)%align != 0 {
			list = append(list, 0)
		}
	}
	pad()
	list = le.AppendUint64(list, uint64(size))
	if pad(); own >= 0 {
		list = le.AppendUint64(list, uint64(own))
	}
	return append(list, "something else behind it"...)
}

// testKernel is a flat image with texts in it, and then more.
func testKernel(more []byte, texts ...string) []byte {
	b := flat("RSC\x05", append([]string{
		"Linux version %s", "Linux version " + testRelease + " (a@b) (gcc) # \n", "Linux version 1.2 ",
		"Linux version " + testRelease + " (a@b) (gcc (Debian) 14) #7 SMP today\n",
		testRelease + " (not a version magic)", "x" + testRelease + " riscv", testVermagic,
	}, texts...)...)
	for len(b)%256 != 0 {
		b = append(b, 0)
	}
	return append(b, more...)
}

func imageFacts(t testing.TB, data []byte) *Facts {
	t.Helper()
	m, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	f := new(Facts)
	f.AddImage(m, "Image")
	return f
}

func TestAddImage(t *testing.T) {
	packed := slices.Concat([]byte("IKCFG_ST"), compressed(sample), []byte("IKCFG_ED"))
	f := imageFacts(t, testKernel(packed, "\x013"+saysVermagic, "\x014"+SaysDisagrees))
	if f.Machine != elf.EM_RISCV || f.Release.Value != testRelease || f.Vermagic.Value != testVermagic {
		t.Errorf("%v, release %v, vermagic %v", f.Machine, f.Release, f.Vermagic)
	}
	if f.Vermagic.From != (Origin{FromImage, "Image", ""}) || f.Release.From != f.Vermagic.From {
		t.Errorf("from %v and %v", f.Release.From, f.Vermagic.From)
	}
	want, err := ParseConfig(strings.NewReader(sample))
	if err != nil || !maps.Equal(f.Config, want) || f.ConfigFrom.Source != FromImage {
		t.Errorf("configuration %v from %v, %v", f.Config, f.ConfigFrom, err)
	}
	if len(f.Relocations) != 23 || f.RelocationsFrom.String() != "version (mainline 6.6)" {
		t.Errorf("%d relocations from %v", len(f.Relocations), f.RelocationsFrom)
	}
	// The configuration that is in the image stays.
	f.AddConfig(Config{"EXT4_FS": "y"}, "config")
	if got := f.Option("EXT4_FS"); got.Value != "m" || got.From != f.ConfigFrom {
		t.Errorf("got %v", got)
	}
}

func TestFindRelease(t *testing.T) {
	for name, tt := range map[string]struct {
		texts []string
		want  string
	}{
		"none":      {nil, ""},
		"numbered":  {[]string{"Linux version 1.0 (a) # ", "Linux version 2.0 (a) #1 x"}, "2.0"},
		"only copy": {[]string{"Linux version 1.0 (a) # "}, "1.0"},
		"no text":   {[]string{"Linux version %s (%s) #1", "Linux version 1.0", "Linux version 1.0 (a)", "Linux version  (a) #1"}, ""},
		"too long":  {[]string{"Linux version 1." + strings.Repeat("0", maxRelease) + " (a) #1", "Linux version 1.0 (" + strings.Repeat("a", maxBanner) + ") #1"}, ""},
		"last":      {[]string{"Linux version 1.0 (a) #"}, "1.0"},
	} {
		if got := findRelease([]byte("\x00" + strings.Join(append(tt.texts, ""), "\x00"))); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Each message and its absence, and what both mean.
func TestOptionsByMessages(t *testing.T) {
	tests := map[string]map[string]string{ // message → option → value, present/absent
		SaysDisagrees:     {"MODVERSIONS": "y/n"},
		SaysRejected:      {"MODULE_SIG": "y/n"},
		SaysBadVermagic:   {"MODULE_FORCE_LOAD": "y/n"},
		SaysNoLivepatch:   {"LIVEPATCH": "n/y"},
		SaysNoGOT:         {"MODULE_SECTIONS": "n/y"},
		SaysImportError:   {"MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS": "n/"},
		SaysImportWarning: {"MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS": "y/"},
		SaysBTFMismatch:   {"DEBUG_INFO_BTF_MODULES": "y/n", "MODULE_ALLOW_BTF_MISMATCH": "y/"},
		SaysBTFInvalid:    {"DEBUG_INFO_BTF_MODULES": "y/n", "MODULE_ALLOW_BTF_MISMATCH": "/"},
		SaysNotGzip:       {"MODULE_DECOMPRESS": "y/n", "MODULE_COMPRESS_GZIP": "y/"},
		SaysNotXZ:         {"MODULE_DECOMPRESS": "y/n", "MODULE_COMPRESS_XZ": "y/"},
		SaysNotZstd:       {"MODULE_DECOMPRESS": "y/n", "MODULE_COMPRESS_ZSTD": "y/"},
	}
	without := imageFacts(t, testKernel(nil, saysVermagic))
	for message, options := range tests {
		f := imageFacts(t, testKernel(nil, saysVermagic, message+" and so on\n"))
		if says, known := f.Says(message); !says || !known {
			t.Errorf("%q: says %v, known %v", message, says, known)
		}
		if says, known := without.Says(message); says || !known {
			t.Errorf("%q: says %v, known %v, without it", message, says, known)
		}
		for name, want := range options {
			got, other := f.Option(name), without.Option(name)
			if got.Value+"/"+other.Value != want {
				t.Errorf("%q: %s is %q with it and %q without it, want %s", message, name, got.Value, other.Value, want)
			}
			if got.Known() && got.From.Source != FromImage {
				t.Errorf("%s: from %v", name, got.From)
			}
		}
	}
	// No loader, no messages; nor can one tell without an image.
	for _, f := range []*Facts{imageFacts(t, testKernel(nil, SaysDisagrees)), {}} {
		if _, known := f.Says(SaysDisagrees); known || f.Option("MODVERSIONS").Known() {
			t.Error("messages are known")
		}
	}
}

func TestOption(t *testing.T) {
	f := imageFacts(t, testKernel(nil, saysVermagic, SaysDisagrees))
	if got := f.Option("SMP"); got.Known() || got.Yes() || got.No() {
		t.Errorf("got %v", got)
	}
	f.AddConfig(Config{"SMP": "y", "MODVERSIONS": "n", "RISCV": "y"}, "config")
	f.AddConfig(Config{}, "another")
	if got := f.Option("SMP"); !got.Yes() || got.From.String() != "config config" {
		t.Errorf("got %v", got)
	}
	if got := f.Option("PREEMPT"); !got.No() || got.From.Source != FromConfig {
		t.Errorf("what is not mentioned: %v", got)
	}
	// The image is right, and the difference is said.
	if got := f.Option("MODVERSIONS"); !got.Yes() || got.From.Source != FromImage {
		t.Errorf("got %v", got)
	}
	want := fmt.Sprintf("it says MODVERSIONS=n, which does not go with image Image (it has the message %q)", SaysDisagrees)
	if !slices.ContainsFunc(f.Notes, func(n Note) bool { return n.File == "config" && n.Text == want }) {
		t.Errorf("notes %+v, want %s", f.Notes, want)
	}
}

func TestFindKeys(t *testing.T) {
	own, other, revoked := certificate(477), certificate(1324), certificate(900)
	tests := map[string]struct {
		data []byte
		want [][]byte
	}{
		"one":              {keyList(256, 477, own), [][]byte{own}},
		"two, own first":   {keyList(8, 477, own, other), [][]byte{own, other}},
		"revoked as well":  {append(keyList(256, -1, revoked), testKernel(keyList(256, 477, own))...), [][]byte{own}},
		"before 5.13":      {keyList(8, -1, own), [][]byte{own}},
		"room for another": {slices.Concat(own, make([]byte, 4096+3), []byte{0xdd, 1}, make([]byte, 6)), [][]byte{own}},
		"two lists":        {append(keyList(256, -1, revoked), testKernel(keyList(256, -1, own))...), nil},
		"a stray one":      {append(testKernel(own), "no size behind"...), nil},
		"cut off":          {own[:400], nil},
		"none":             {[]byte("\xa0\x03\x02\x01\x02"), nil},
	}
	for name, tt := range tests {
		data := append(testKernel(nil), tt.data...)
		got, at := findKeys(data)
		if !slices.EqualFunc(got, tt.want, bytes.Equal) {
			t.Errorf("%s: %d certificates, want %d", name, len(got), len(tt.want))
		}
		if len(got) > 0 && !bytes.HasPrefix(data[at:], got[0]) {
			t.Errorf("%s: not at %d", name, at)
		}
	}
	f := imageFacts(t, testKernel(keyList(256, 477, own)))
	if len(f.Keys) != 1 || f.KeysFrom.Source != FromImage || imageFacts(t, testKernel(nil)).KeysFrom.Source != Unknown {
		t.Errorf("%d keys from %v", len(f.Keys), f.KeysFrom)
	}
}

// The number of types for which mainline kernels have a handler, and those that
// decide the most common failures.
func TestMainlineRelocations(t *testing.T) {
	for release, want := range map[string]int{
		"4.14": 0, "4.15": 8, "4.16.3": 8, "4.17": 19, "5.8.18": 19, "5.9": 21, "5.10.262": 21, "6.1.192-kstage": 21, "6.2": 21,
		"6.3": 23, "6.6.0-rc1": 23, "6.7": 50, "6.12.107+deb13-riscv64": 50, "7.2.13": 50, "": 0, "kernel": 0, "6": 0, "6.": 0, "6.x": 0,
	} {
		f := new(Facts)
		f.AddModules(elf.EM_RISCV, "", 0, "")
		f.AddRelease(release)
		if len(f.Relocations) != want {
			t.Errorf("%s: %d types, want %d", release, len(f.Relocations), want)
		}
		if want > 0 && f.RelocationsFrom.Source != FromRelease {
			t.Errorf("%s: from %v", release, f.RelocationsFrom)
		}
		if got := f.Relocations[57]; got != (want == 50) {
			t.Errorf("%s: R_RISCV_32_PCREL is %v", release, got)
		}
		for _, never := range []uint32{0, 12, 13, 14, 15, 41, 42, 46, 47, 48, 49, 50, 62} {
			if f.Relocations[never] {
				t.Errorf("%s: type %d", release, never)
			}
		}
	}
	f := &Facts{Machine: elf.EM_X86_64}
	if f.AddRelease("6.12.1"); f.Relocations != nil {
		t.Errorf("x86: %v", f.Relocations)
	}
}

// What a better source has told stays, whichever is first.
func TestPriorities(t *testing.T) {
	adders := []func(f *Facts){
		func(f *Facts) { f.AddRelease("5.10.1") },
		func(f *Facts) { f.AddModules(elf.EM_RISCV, "6.1.1 SMP riscv", 1216, "modules") },
		func(f *Facts) { f.AddImage(must(read(testKernel(nil))), "Image") },
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}} {
		f := new(Facts)
		for _, i := range order {
			adders[i](f)
		}
		if f.Release.Value != testRelease || f.Vermagic.Value != testVermagic || f.ModuleSize != 1216 || f.ModuleSizeFrom.Source != FromModules {
			t.Errorf("%v: release %v, vermagic %v, size %d", order, f.Release, f.Vermagic, f.ModuleSize)
		}
		if len(f.Relocations) != 23 {
			t.Errorf("%v: %d relocations from %v", order, len(f.Relocations), f.RelocationsFrom)
		}
		if len(f.Notes) != 2 {
			t.Errorf("%v: notes %+v", order, f.Notes)
		}
	}
}

func must(m *Image, err error) *Image {
	if err != nil {
		panic(err)
	}
	return m
}

func TestMachines(t *testing.T) {
	for option, want := range map[string]elf.Machine{"RISCV": elf.EM_RISCV, "ARM64": elf.EM_AARCH64, "X86_64": elf.EM_X86_64, "LOONGARCH": elf.EM_LOONGARCH, "ARC": 0} {
		f := new(Facts)
		if f.AddConfig(Config{option: "y"}, "config"); f.Machine != want {
			t.Errorf("%s: %v", option, f.Machine)
		}
	}
	f := imageFacts(t, testKernel(nil))
	f.AddConfig(Config{"ARM64": "y"}, "config")
	if len(f.Notes) != 1 || f.Notes[0] != (Note{"config", "it is for arm64, the rest for riscv64", ""}) {
		t.Errorf("%+v", f.Notes)
	}
}

func TestAddBuiltIn(t *testing.T) {
	f := new(Facts)
	if err := f.AddBuiltIn(strings.NewReader("kernel/fs/ext4/ext4.ko\nkernel/lib/crc-ccitt.ko\n")); err != nil {
		t.Fatal(err)
	}
	if want := map[string]bool{"ext4": true, "crc_ccitt": true}; !maps.Equal(f.BuiltIn, want) {
		t.Errorf("got %v", f.BuiltIn)
	}
	for text, want := range map[string]string{
		"kernel/a.ko\nkernel\n": `modules that are built in: line 2: "kernel" is no module`,
		"kernel/.ko":            "line 1", "\n": "line 1", strings.Repeat("x", maxSymbolLine+1): "line 1: longer than 4096 bytes",
	} {
		if err := new(Facts).AddBuiltIn(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestAddBuildDir(t *testing.T) {
	file := func(data []byte) *fstest.MapFile { return &fstest.MapFile{Data: data} }
	dir := fstest.MapFS{
		"vmlinux":                       file(elfFile(elf.EM_RISCV)), // as Debian's headers have it
		"arch/riscv/boot/Image":         file(testKernel(nil, saysVermagic, SaysDisagrees)),
		".config":                       file([]byte(sample + "CONFIG_MODVERSIONS=y\n")),
		"Module.symvers":                file([]byte("0x00000001\ta\tvmlinux\tEXPORT_SYMBOL\t\n")),
		"System.map":                    file([]byte("ffffffffffffffff B stub\n")),
		"include/config/kernel.release": file([]byte(testRelease + "\n")),
	}
	f := new(Facts)
	if err := f.AddBuildDir(dir, "build/"); err != nil {
		t.Fatal(err)
	}
	if f.Vermagic.From.File != "build/arch/riscv/boot/Image" || f.ConfigFrom.File != "build/.config" || f.ExportsFrom.File != "build/Module.symvers" || len(f.Exports) != 1 {
		t.Errorf("%v, %v, %v", f.Vermagic, f.ConfigFrom, f.ExportsFrom)
	}
	if len(f.Notes) == 0 || f.Notes[len(f.Notes)-1].File != "build/System.map" {
		t.Errorf("notes %+v", f.Notes)
	}
	f = new(Facts)
	if err := f.AddBuildDir(fstest.MapFS{"include/config/kernel.release": file([]byte("6.1.2\n"))}, "b"); err != nil || f.Release.Value != "6.1.2" {
		t.Errorf("%v, %v", f.Release, err)
	}
	for path, want := range map[string]string{
		"nothing":        "b: no kernel was built here",
		"vmlinux":        "b/vmlinux: kernel image: no known format",
		".config":        "b/.config: kernel configuration: line 1",
		"Module.symvers": "b/Module.symvers: symbol versions: line 1",
		"System.map":     "b/System.map: system map: line 1",
	} {
		err := new(Facts).AddBuildDir(fstest.MapFS{path: file([]byte("what is this?\n"))}, "b")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
