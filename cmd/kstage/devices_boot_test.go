//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod/machine"
	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
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

// maxVirtImage is what an image for qemu's virt machine with an ext4 root may have.
const maxVirtImage = 5_000_000

// TestBootDeviceTree packs all of a distribution's modules with a choice: what qemu's
// own device tree asks for, and the profiles for what it does not tell. The machine
// finds its disk and its network card, and mounts the ext4 file system on the disk.
func TestBootDeviceTree(t *testing.T) {
	dir := openDir(t)
	m := boottest.Machine{Net: true, Disk: ext4Image(t, dir), Initrd: filepath.Join(dir, "image.cpio.gz")}
	dtb := filepath.Join(dir, "virt.dtb")
	boottest.DeviceTree(t, m, dtb)
	root := openDir(t)
	boottest.AddBusybox(t, root)
	boottest.AddInit(t, root,
		"modprobe-bymodalias busybox modprobe",
		"wait-for /sys/class/net/eth0",
		"wait-for /dev/vda",
		"busybox mount -t ext4 -o ro /dev/vda /root",
		"cat /root/etc/hello")
	// the kernel calls /sbin/modprobe by itself: for fs-ext4, and ext4 for crypto-crc32c
	if err := errors.Join(os.Mkdir(filepath.Join(root, "root"), 0o755), os.Mkdir(filepath.Join(root, "sbin"), 0o755),
		os.Symlink("../bin/busybox", filepath.Join(root, "sbin/modprobe"))); err != nil {
		t.Fatal(err)
	}
	kstage, err := program()
	if err != nil {
		t.Fatal(err)
	}
	pack := exec.Command(kstage, "pack", kotest.LabTree(t, "xz"), root, "--dtb", dtb, "--profile", "virt,ext4", "-o", m.Initrd)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(m.Initrd)
	if err != nil || info.Size() > maxVirtImage {
		t.Errorf("the image has %d bytes, more than %d (%v)", info.Size(), maxVirtImage, err)
	}
	t.Logf("the image has %d bytes", info.Size())
	for _, r := range boottest.Results(t, boottest.Run(t, m)) {
		if r.Exit != 0 {
			t.Errorf("%s: exit %d\n%s", r.Command, r.Exit, r.Output)
		}
		if strings.HasPrefix(r.Command, "cat") && !strings.Contains(r.Output, "from the disk\n") {
			t.Errorf("%s: %s", r.Command, r.Output)
		}
	}
}

// ext4Image makes a small file system and returns its path.
func ext4Image(t *testing.T, dir string) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("mkfs.ext4 is not installed (e2fsprogs)")
	}
	content := filepath.Join(dir, "content")
	if err := os.MkdirAll(filepath.Join(content, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(content, "etc/hello"), []byte("from the disk\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "ext4.img")
	if out, err := exec.Command(mkfs, "-q", "-d", content, image, "16M").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return image
}
