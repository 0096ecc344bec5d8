package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kstage/kstage/internal/kotest"
)

// sampleBTF has one type of each kind before struct module.
func sampleBTF(size uint32) []byte {
	names := "\x00int\x00module\x00modules\x00"
	var types []byte
	add := func(name string, kind, members int, size uint32, rest int) {
		types = binary.LittleEndian.AppendUint32(types, uint32(strings.Index(names, name)))
		types = binary.LittleEndian.AppendUint32(types, uint32(kind<<24|members))
		types = binary.LittleEndian.AppendUint32(types, size)
		types = append(types, bytes.Repeat([]byte{0xff}, rest)...)
	}
	add("int\x00", 1, 0, 4, 4)
	for _, kind := range []int{2, 7, 8, 9, 10, 11, 12, 16, 18} {
		add("module\x00", kind, 0, 1, 0) // the name of other things too
	}
	add("int\x00", 3, 0, 0, 12)
	add("module\x00", 5, 2, 8, 24)
	add("modules\x00", 4, 3, 64, 36)
	add("int\x00", 6, 2, 4, 16)
	add("int\x00", 13, 2, 1, 16)
	add("int\x00", 14, 0, 1, 4)
	add("int\x00", 15, 1, 1, 12)
	add("int\x00", 17, 0, 1, 4)
	add("int\x00", 19, 1, 8, 12)
	add("module\x00", 4, 1, size, 12)
	h := binary.LittleEndian.AppendUint32(bytes.Clone(btfMagic), 0)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(types)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(types)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(names)))
	return append(append(h, types...), names...)
}

func TestStructSize(t *testing.T) {
	btf := sampleBTF(1216)
	decoy := append(bytes.Clone(btfMagic), 0xff, 0xff, 0xff, 0xff)
	for name, c := range map[string]struct {
		data []byte
		want uint64
	}{
		"alone":           {btf, 1216},
		"in an image":     {append(append(append([]byte("MZ\x9f\xeb"), decoy...), btf...), "more"...), 1216},
		"none":            {[]byte("MZ nothing"), 0},
		"types cut off":   {btf[:60], 0},
		"strings cut off": {btf[:len(btf)-1], 0},
	} {
		if got := structSize(c.data, "module"); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// The kernel's own modules are the reference.
func TestLabModuleSize(t *testing.T) {
	f := labFacts(t)
	name, err := filepath.Glob(filepath.Join(kotest.LabTree(t, "zst"), "lib/modules/*/kernel/fs/ext4/ext4.ko.zst"))
	if err != nil || len(name) != 1 {
		t.Fatalf("%q, %v", name, err)
	}
	packed, err := os.ReadFile(name[0])
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	want := m.Section(".gnu.linkonce.this_module").Size
	if f.ModuleSize != want || f.ModuleSizeFrom.Source != FromImage {
		t.Errorf("struct module has %d bytes (%v), the modules say %d", f.ModuleSize, f.ModuleSizeFrom, want)
	}
}

func FuzzStructSize(f *testing.F) {
	f.Add(sampleBTF(1216))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if size := structSize(data, "module"); size != 0 && !bytes.Contains(data, []byte("module\x00")) {
			t.Fatalf("%d bytes of a struct that is not there", size)
		}
	})
}
