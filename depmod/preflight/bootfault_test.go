//go:build unix

package preflight

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
)

// TestKernelFaults boots a kernel for each module at which its loader itself faults. At a
// name that is outside it did up to 6.12.107; 6.12.117 has looked before.
func TestKernelFaults(t *testing.T) {
	k612, k61 := boot612(t), boot61(t)
	alone := func(section string, typ uint32, symbol string, addend int64) func(*moduleSpec) {
		return func(s *moduleSpec) {
			s.Relocs = []kotest.Reloc{{Section: section, Type: typ, Symbol: symbol, Addend: addend}}
		}
	}
	withRelax := func(typ uint32, symbol string, addend int64) func(*moduleSpec) {
		return func(s *moduleSpec) {
			s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
			s.reloc(typ, symbol, addend)
		}
	}
	for _, c := range []struct {
		k *bootKernel
		bootCase
	}{
		{k612, bootCase{name: "lone_add", build: alone(".data", uint32(elf.R_RISCV_ADD32), ".text", 0)}},
		{k612, bootCase{name: "uleb_address", build: withRelax(setULEB, "_printk", 0)}},
		{k612, bootCase{name: "uleb_negative", build: withRelax(subULEB, "", 5)}},
		{k612, bootCase{name: "name_outside", change: func(b []byte) []byte { return put32(b, sectionHeader(b, ".data"), 1<<20) }}},
		{k61, bootCase{name: "got_in_data", build: alone(".data", uint32(elf.R_RISCV_GOT_HI20), "_printk", 0)}},
		{k61, bootCase{name: "plt_in_data", build: alone(".data", uint32(elf.R_RISCV_CALL_PLT), "", 0x1000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := c.k.make(t, c.bootCase)
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.name+".ko"), file, 0o644); err != nil {
				t.Fatal(err)
			}
			boottest.AddInit(t, dir, "insmod /"+c.name+".ko")
			console := boottest.Run(t, boottest.Machine{Kernel: c.k.image, Initrd: boottest.Pack(t, dir), Append: "oops=panic"})
			_, console, started := strings.Cut(console, "boottest: start")
			faults := strings.Contains(console, "Oops") || strings.Contains(console, "Kernel BUG")
			if !started || !faults && c.name != "name_outside" {
				t.Errorf("no fault; the console:\n%s", console)
			}
			if r := (&ootState{facts: c.k.facts, loaded: newLoaded()}).predict(c.bootCase, "", file); (r.Verdict == Crashes) != faults {
				t.Errorf("predicted: %v, %+v; a fault: %v", r.Verdict, r.Findings, faults)
			}
		})
	}
}
