package machine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/fdt"
)

// node writes a node with these properties, NAME=VALUE, and what is in it.
func node(b *fdt.Builder, name string, properties []string, inner ...func()) {
	b.Begin(name)
	for _, p := range properties {
		name, value, set := strings.Cut(p, "=")
		switch {
		case set:
			b.Text(name, strings.Split(value, "|")...)
		default:
			b.Property(name, nil)
		}
	}
	for _, f := range inner {
		f()
	}
	b.End()
}

// board is a tree with one node for each thing that matters.
func board() []byte {
	var b fdt.Builder
	leaf := func(name string, properties ...string) func() { return func() { node(&b, name, properties) } }
	bus := func(name string, properties []string, inner ...func()) func() {
		return func() { node(&b, name, properties, inner...) }
	}
	node(&b, "", []string{"compatible=acme,board", "status=disabled"},
		leaf("memory@80000000", "device_type=memory"),
		leaf("cpu@0", "device_type=cpu", "compatible=acme,core|riscv"),
		leaf("untyped", "device_type", "compatible=a"),
		leaf("blanks", "compatible=two  words|x"),
		leaf("nothing", "compatible"),
		bus("soc", []string{"compatible=simple-bus"},
			leaf("on@1", "status=okay", "compatible=on"),
			leaf("ok@1", "compatible=ok", "status=ok"),
			bus("off@2", []string{"status=disabled", "compatible=off"},
				bus("deeper", nil, leaf("inner", "compatible=inner"))),
			leaf("failed@3", "compatible=failed", "status=fail-sss"),
			leaf("reserved@4", "compatible=reserved", "status=reserved"),
			leaf("empty@5", "compatible=empty", "status"),
			leaf("more@6", "compatible=more", "status=okay|disabled"),
			bus("i2c@7", []string{"compatible=acme,i2c"},
				leaf("sensor@4c", "compatible=acme,sensor|acme,old", "reg=x"),
				leaf("long@4d", "compatible=acme,a-name-of-twenty-one", "reg=x"),
				leaf("ports", "compatible=acme,ports")),
			bus("i2c-gpio-0", nil, leaf("rtc@1", "compatible=rtc", "reg=x")),
			bus("spi@8", nil, leaf("flash@0", "compatible=jedec,spi-nor", "reg=x")),
			bus("ethernet@9", nil,
				leaf("phy@0", "compatible=ethernet-phy-id0007.0771|ethernet-phy-ieee802.3-c22", "reg=x"),
				leaf("phy@1", "compatible=ethernet-phy-ieee802.3-c22", "reg=x"))))
	return b.Bytes()
}

// The strings were worked out by hand from drivers/of/module.c, drivers/of/base.c,
// and drivers/net/phy/phy_device.c; TestBootDevices and TestLab ask the kernel and
// other programs.
func TestDeviceTree(t *testing.T) {
	choices, err := DeviceTree("x.dtb", bytes.NewReader(board()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range choices {
		if !c.Device || !c.Optional {
			t.Errorf("%+v", c)
		}
		got = append(got, c.From+" "+c.Text)
	}
	want := []string{
		"x.dtb:/cpu@0 of:NcpuTcpuCacme,coreCriscv",
		"x.dtb:/untyped of:NuntypedTCa",
		"x.dtb:/blanks of:NblanksT(null)Ctwo__wordsCx",
		"x.dtb:/soc of:NsocT(null)Csimple-bus",
		"x.dtb:/soc/on@1 of:NonT(null)Con",
		"x.dtb:/soc/ok@1 of:NokT(null)Cok",
		"x.dtb:/soc/more@6 of:NmoreT(null)Cmore",
		"x.dtb:/soc/i2c@7 of:Ni2cT(null)Cacme,i2c",
		"x.dtb:/soc/i2c@7/sensor@4c of:NsensorT(null)Cacme,sensorCacme,old",
		"x.dtb:/soc/i2c@7/sensor@4c i2c:sensor",
		"x.dtb:/soc/i2c@7/long@4d of:NlongT(null)Cacme,a-name-of-twenty-one",
		"x.dtb:/soc/i2c@7/long@4d i2c:a-name-of-twenty-on",
		"x.dtb:/soc/i2c@7/ports of:NportsT(null)Cacme,ports",
		"x.dtb:/soc/i2c-gpio-0/rtc@1 of:NrtcT(null)Crtc",
		"x.dtb:/soc/i2c-gpio-0/rtc@1 i2c:rtc",
		"x.dtb:/soc/spi@8/flash@0 of:NflashT(null)Cjedec,spi-nor",
		"x.dtb:/soc/spi@8/flash@0 spi:spi-nor",
		"x.dtb:/soc/ethernet@9/phy@0 of:NphyT(null)Cethernet-phy-id0007.0771Cethernet-phy-ieee802.3-c22",
		"x.dtb:/soc/ethernet@9/phy@0 mdio:00000000000001110000011101110001",
		"x.dtb:/soc/ethernet@9/phy@1 of:NphyT(null)Cethernet-phy-ieee802.3-c22",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

// A device tree that is cut off at any byte is an error, and so is one whose
// header or properties say that they are longer than they are.
func TestDeviceTreeCutOff(t *testing.T) {
	whole := board()
	for n := range whole {
		if c, err := DeviceTree("x.dtb", bytes.NewReader(whole[:n])); !errors.Is(err, fdt.ErrCutOff) || c != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestDeviceTreeErrors(t *testing.T) {
	tree := func(fill func(*fdt.Builder)) []byte {
		var b fdt.Builder
		b.Begin("")
		b.Begin("soc")
		fill(&b)
		b.End()
		b.End()
		return b.Bytes()
	}
	for want, data := range map[string][]byte{
		"device tree x.dtb: offset 0: there is no device tree: it begins with 2f647473": []byte("/dts-v1/;"),
		"compatible does not end in a zero byte":                                        tree(func(b *fdt.Builder) { b.Property("compatible", []byte("a")) }),
		"compatible has 1025 bytes, more than 1024":                                     tree(func(b *fdt.Builder) { b.Text("compatible", strings.Repeat("x", 1024)) }),
		"the path of a node has 1027 bytes, more than 1024: soc/xxxx": tree(func(b *fdt.Builder) {
			for range 4 {
				b.Begin(strings.Repeat("x", 255))
			}
			b.Text("compatible", "x")
			for range 4 {
				b.End()
			}
		}),
		"there are more than 16384 devices": tree(func(b *fdt.Builder) {
			for range maxDevices + 1 {
				node(b, "x", []string{"compatible=x"})
			}
		}),
	} {
		if c, err := DeviceTree("x.dtb", bytes.NewReader(data)); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func ExampleDeviceTree() {
	var b fdt.Builder // a .dtb file
	b.Begin("")
	b.Begin("ethernet@10090000")
	b.Text("compatible", "sifive,fu540-c000-gem")
	b.End()
	b.End()
	choices, err := DeviceTree("board.dtb", bytes.NewReader(b.Bytes()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(choices[0])
	// Output: board.dtb:/ethernet@10090000: of:NethernetT(null)Csifive,fu540-c000-gem
}
