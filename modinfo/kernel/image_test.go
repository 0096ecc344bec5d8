package kernel

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

func TestLabImage(t *testing.T) {
	f, err := os.Open(filepath.Join(kotest.Lab(t), "vmlinux"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadImage(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if m.Format != "riscv64 Image" || m.Machine != elf.EM_RISCV || m.Base != 0xffffffff80000000 || int64(len(m.Data)) != info.Size() {
		t.Errorf("%s, %v, base %#x, %d bytes", m.Format, m.Machine, m.Base, len(m.Data))
	}
}
