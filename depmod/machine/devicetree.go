package machine

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/fdt"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// DeviceTree reads a flattened device tree, a .dtb file, and returns the devices
// in it as choices: for each node that has the property compatible, the modalias
// that the kernel makes of it (of_modalias in drivers/of/module.c),
//
//	of:NethernetT(null)Cstarfive,jh7110-dwmacCsnps,dwmac-5.20
//
// that is the node's name without its address, device_type or "(null)", and every
// compatible. Nodes whose status is neither "okay" nor "ok" are left out with all
// that is below them, for without their driver nobody looks there. So is the root,
// which is no device.
//
// Three buses give devices further names, which follow that of the node:
//
//	i2c:tmp451    a device on an I2C bus (of_alias_from_compatible in
//	spi:spi-nor   or SPI bus              drivers/of/base.c)
//	mdio:0000…    a network PHY whose compatible tells its number
//
// A device that has to be asked what it is, on PCI, USB or behind virtio,mmio, has
// no node, or none that says it.
//
// name stands in [closure.Choice.From], before the path of the node. The tree
// begins at offset 0 of r. What cannot be a tree is an error with the offset.
func DeviceTree(name string, r io.ReaderAt) ([]closure.Choice, error) {
	tree, err := fdt.New(r)
	if err != nil {
		return nil, fmt.Errorf("device tree %s: %w", name, err)
	}
	d := devices{tree: tree}
	if err := tree.Walk(d.visit); err != nil {
		return nil, fmt.Errorf("device tree %s: %w", name, err)
	}
	var choices []closure.Choice
	for _, n := range d.found {
		from := name + ":/" + n.path
		choices = append(choices, closure.Devices(from, n.modaliases())...)
	}
	return choices, nil
}

// Limits, far above what boards have: a server's SoC has a thousand devices.
const (
	maxDevices = 1 << 14
	maxPath    = 1024 // bytes
)

// devices collects the nodes that are devices.
type devices struct {
	tree  *fdt.Tree
	found []device
	off   int // depth of the node that is not available, and so nothing in it; 0: none
}

// device is what a node says about a device.
type device struct {
	path       string
	name, bus  string // the node's name, and that of the node it is in, without the addresses
	kind       string // device_type
	typed      bool   // has device_type
	reg        bool   // has an address on its bus
	compatible []string
}

// visit takes in one node.
func (d *devices) visit(n *fdt.Node) error {
	depth := len(n.Path)
	if d.off > 0 && depth > d.off {
		return nil
	}
	d.off = 0
	var node device
	for _, p := range n.Properties {
		available, err := node.set(d.tree, p)
		if err != nil {
			return err
		}
		if !available && depth > 0 {
			d.off = depth
			return nil
		}
	}
	if depth == 0 || len(node.compatible) == 0 {
		return nil
	}
	node.name, node.path = base(n.Path[depth-1]), strings.Join(n.Path, "/")
	if len(node.path) > maxPath {
		return fmt.Errorf("the path of a node has %d bytes, more than %d: %s…", len(node.path), maxPath, node.path[:60])
	}
	if len(d.found) == maxDevices {
		return fmt.Errorf("there are more than %d devices", maxDevices)
	}
	if depth > 1 {
		node.bus = base(n.Path[depth-2])
	}
	d.found = append(d.found, node)
	return nil
}

// set takes in one property. A device is available unless its status says
// otherwise (__of_device_is_available in drivers/of/base.c).
func (n *device) set(tree *fdt.Tree, p fdt.Property) (available bool, err error) {
	var status []string
	switch p.Name {
	case "status":
		status, err = tree.Strings(p)
		return len(status) > 0 && (status[0] == "okay" || status[0] == "ok"), err
	case "compatible":
		n.compatible, err = tree.Strings(p)
	case "device_type":
		var list []string
		list, err = tree.Strings(p)
		n.kind, n.typed = strings.Join(slices.Concat(list, []string{""})[:1], ""), true
	case "reg":
		n.reg = true
	}
	return true, err
}

// base is the name of a node without its address.
func base(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}

// modaliases are the names under which a driver is looked for.
func (n *device) modaliases() []string {
	kind := "(null)" // what the kernel prints for a string that is not there
	if n.typed {
		kind = n.kind
	}
	var b strings.Builder
	fmt.Fprintf(&b, "of:N%sT%s", n.name, kind)
	for _, c := range n.compatible {
		b.WriteString("C" + strings.ReplaceAll(c, " ", "_"))
	}
	return append([]string{b.String()}, n.onBus()...)
}

// What the kernel cuts names at: I2C_NAME_SIZE and SPI_NAME_SIZE, with a zero byte.
const (
	maxI2C = 19
	maxSPI = 31
)

// onBus is the name that a bus gives. The kernel asks drivers which node is which
// bus; a tree by itself tells it by the names, on which the devicetree schemas
// insist. An I2C device announces itself as of:… and a driver is bound by either;
// an SPI device announces itself as spi:… only, and here too either binds.
func (n *device) onBus() []string {
	_, name, found := strings.Cut(n.compatible[0], ",")
	if !found {
		name = n.compatible[0]
	}
	switch {
	case n.reg && isBus(n.bus, "i2c"):
		return []string{"i2c:" + name[:min(len(name), maxI2C)]}
	case n.reg && isBus(n.bus, "spi"):
		return []string{"spi:" + name[:min(len(name), maxSPI)]}
	}
	return phy(n.compatible[0])
}

func isBus(node, bus string) bool { return node == bus || strings.HasPrefix(node, bus+"-") }

var phyID = lazyregexp.New(`^ethernet-phy-id([[:xdigit:]]{1,4})\.([[:xdigit:]]{1,4})`)

// phy is the name of a PHY that needs not be asked for its number: 32 binary
// digits (fwnode_get_phy_id and phy_request_driver_module in
// drivers/net/phy/phy_device.c).
func phy(compatible string) []string {
	m := phyID().FindStringSubmatch(compatible)
	if m == nil {
		return nil
	}
	high, _ := strconv.ParseUint(m[1], 16, 16)
	low, _ := strconv.ParseUint(m[2], 16, 16)
	return []string{fmt.Sprintf("mdio:%016b%016b", high, low)}
}
