//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod/machine"
	"github.com/kstage/kstage/internal/boottest"
)

// notShown are nodes that the kernel looks at without making a device of them, or
// one that shows its other alias.
var notShown = []string{
	"of:NcpuTcpuCriscv", "of:Ninterrupt-controllerT(null)Criscv,cpu-intc", // parts of the processor
	"of:NhfclkT(null)Cfixed-clock", "of:NrtcclkT(null)Cfixed-clock", // CLK_OF_DECLARE, in the kernel
	"of:NflashT(null)Cjedec,spi-nor", "of:NmmcT(null)Cmmc-spi-slot", // on SPI: spi:…
}

// TestBootDevices asks the kernel which aliases it makes of a device tree: qemu's
// virt, which has PCI and virtio, and qemu's HiFive Unleashed, which has SPI.
func TestBootDevices(t *testing.T) {
	for _, tt := range []struct {
		machine boottest.Machine
		modules []string // of the buses, without which there are no devices on them
		has     []string
	}{
		{boottest.Machine{Net: true}, nil,
			[]string{"of:Nvirtio_mmioT(null)Cvirtio,mmio", "of:NpciTpciCpci-host-ecam-generic"}},
		{boottest.Machine{Kind: "sifive_u"}, []string{"spi_sifive"},
			[]string{"of:NethernetT(null)Csifive,fu540-c000-gem", "spi:spi-nor", "spi:mmc-spi-slot"}},
	} {
		t.Run(tt.machine.Kind, func(t *testing.T) {
			dir := openDir(t)
			dtb := filepath.Join(dir, "machine.dtb")
			boottest.DeviceTree(t, tt.machine, dtb)
			told := devicesOf(t, dtb)

			root := openDir(t)
			boottest.AddBusybox(t, root)
			boottest.AddModules(t, root, append(tt.modules, "loop")...) // without a name it takes all
			var commands []string
			for _, m := range tt.modules {
				commands = append(commands, "busybox modprobe "+m)
			}
			boottest.AddInit(t, root, append(commands, "busybox find /sys/devices -name modalias -exec cat {} +")...)
			tt.machine.Initrd = filepath.Join(dir, "image.cpio.gz")
			if out, err := unprivileged(t, "pack", root, "-o", tt.machine.Initrd).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			results := boottest.Results(t, boottest.Run(t, tt.machine))
			shown := captured(t, results[len(results)-1].Output)
			compareDevices(t, told, shown)
			for _, alias := range tt.has {
				if !slices.Contains(told, alias) || !slices.Contains(shown, alias) {
					t.Errorf("%s is missing", alias)
				}
			}
		})
	}
}

// devicesOf returns the aliases that a device tree tells, each once.
func devicesOf(t *testing.T, dtb string) []string {
	t.Helper()
	f, err := os.Open(dtb)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	choices, err := machine.DeviceTree("", f)
	if err != nil {
		t.Fatal(err)
	}
	var aliases []string
	for _, c := range choices {
		aliases = append(aliases, c.Text)
	}
	slices.Sort(aliases)
	return slices.Compact(aliases)
}

// captured reads what the machine printed as a user's capture of it is read, and
// returns the aliases of buses of which a device tree can tell the devices.
func captured(t *testing.T, console string) []string {
	t.Helper()
	choices, problems, err := machine.Capture("console", strings.NewReader(console))
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
	var aliases []string
	for _, c := range choices {
		if bus, _, _ := strings.Cut(c.Text, ":"); slices.Contains([]string{"of", "i2c", "spi"}, bus) {
			aliases = append(aliases, c.Text)
		}
	}
	slices.Sort(aliases)
	return aliases
}

// compareDevices: what the kernel shows, the tree has told, and the other way round.
func compareDevices(t *testing.T, told, shown []string) {
	t.Helper()
	for _, alias := range shown {
		if !slices.Contains(told, alias) {
			t.Errorf("the kernel shows %s, of which the device tree did not tell", alias)
		}
	}
	for _, alias := range told {
		if slices.Contains(shown, alias) == slices.Contains(notShown, alias) {
			t.Errorf("the device tree tells of %s; the kernel shows it: %v", alias, slices.Contains(shown, alias))
		}
	}
}
