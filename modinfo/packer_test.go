package modinfo_test

import (
	"bytes"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// What is packed unpacks to the same module, and is such that the kernel can unpack it.
func TestPacker(t *testing.T) {
	module := kotest.Must(t, "elf 64 le riscv\nmodinfo license=GPL\nlabel 5000\n")
	var p, again modinfo.Packer
	var u modinfo.Unpacker
	for _, c := range []modinfo.Compression{modinfo.None, modinfo.Gzip, modinfo.XZ, modinfo.Zstd} {
		packed, err := p.Pack(c, module)
		if err != nil {
			t.Fatal(err)
		}
		packed = bytes.Clone(packed)
		if c != modinfo.None && len(packed) > len(module)/2 {
			t.Errorf("%v: %d bytes of %d", c, len(packed), len(module))
		}
		plain, found, err := u.Unpack(bytes.NewReader(packed), int64(len(packed)))
		if err != nil || found != c || !bytes.Equal(plain, module) {
			t.Errorf("%v: %v, %d bytes, %v", c, found, len(plain), err)
		}
		if second, err := again.Pack(c, module); err != nil || !bytes.Equal(second, packed) {
			t.Errorf("%v: once more, and the bytes differ; %v", c, err)
		}
		if c == modinfo.XZ && packed[7] != 1 {
			t.Errorf("xz: check %d, not 1 (CRC32)", packed[7])
		}
		if c == modinfo.Gzip && !bytes.Equal(packed[3:8], make([]byte, 5)) {
			t.Errorf("gzip: flags and time % x", packed[3:8])
		}
	}
}
