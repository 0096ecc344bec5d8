package machine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kstage/kstage/depmod/closure"
)

func texts(choices []closure.Choice) (list []string) {
	for _, c := range choices {
		list = append(list, c.Text)
	}
	return list
}

// What the commands of Capture's comment print, each with the same devices.
func TestCapture(t *testing.T) {
	want := []string{
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00",
		"of:Nvirtio_mmioT(null)Cvirtio,mmio",
		"platform:Fixed MDIO bus",
		"cpu:type:rv64:feature:,0000",
	}
	cat := strings.Join(want, "\n") + "\n"
	grep := "/sys/devices/pci0000:00/0000:00:01.0/modalias:" + want[0] + "\n" +
		"/sys/devices/platform/soc/10008000.virtio_mmio/modalias:" + want[1] + "\n" +
		"modalias:" + want[2] + "\n" +
		"./cpu/modalias:1:" + want[3] + "\n"
	for name, text := range map[string]string{
		"cat":      cat,
		"grep":     grep,
		"twice":    grep + cat,
		"serial":   strings.ReplaceAll(cat, "\n", "\r\n"),
		"cut off":  strings.TrimSuffix(cat, "\n"),
		"comments": "# my board\n\n" + cat,
		"find -print": "/sys/devices/pci0000:00/0000:00:01.0/modalias\n" + want[0] + "\n" +
			"/sys/devices/a/modalias\n" + strings.Join(want[1:], "\n"),
		"tail": "==> /sys/a/modalias <==\n" + want[0] + "\n\n==> /sys/b/modalias <==\n" + strings.Join(want[1:], "\n"),
		"udevadm": "P: /devices/pci0000:00\nE: DEVPATH=/devices/pci0000:00\nE: MODALIAS=" + want[0] + "\nV: virtio-pci\n" +
			"E: MODALIAS=" + strings.Join(want[1:], "\nE: MODALIAS=") + "\nE: ID_PATH=pci-0000:00:01.0\n",
		"uevent": "DRIVER=virtio-pci\nMODALIAS=" + strings.Join(want, "\nMODALIAS="),
	} {
		choices, problems, err := Capture("board.txt", strings.NewReader(text))
		if got := texts(choices); err != nil || len(problems) > 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, %v", name, got, problems, err)
		}
	}
}

// Lines that are none are told with their numbers, and do no harm.
func TestCaptureJunk(t *testing.T) {
	long := "of:N" + strings.Repeat("x", maxLine)
	text := "cat: /sys/devices/a/modalias: Permission denied\n" +
		"virtio:d00000001v554D4551\n" +
		"[   12.345678] usb 1-1: new device\n" +
		"of:\x00\x01\n" +
		long + "\n" +
		"root@board:~# \n" +
		"usb: \n"
	choices, problems, err := Capture("board.txt", strings.NewReader(text))
	if err != nil || len(choices) != 1 || choices[0].From != "board.txt:2" || !choices[0].Device || !choices[0].Optional {
		t.Errorf("%+v, %v", choices, err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		`board.txt:1: "cat: /sys/devices/a/modalias: Permission denied" is no modalias`,
		`board.txt:3: "[   12.345678] usb 1-1: new device" is no modalias`,
		`board.txt:4: "of:\x00\x01" is no modalias`,
		`board.txt:5: "of:Nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"…: the line is longer than 4096 bytes`,
		`board.txt:6: "root@board:~#" is no modalias`,
		`board.txt:7: "usb:" is no modalias`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

func TestCaptureLimits(t *testing.T) {
	_, problems, err := Capture("x", strings.NewReader("pci:v1\n"+strings.Repeat("?\n", 1000)))
	if err != nil || len(problems) != maxSkipped+1 || problems[maxSkipped].Text != "x: 980 more lines are no modaliases either" {
		t.Errorf("%d problems: %v, %v", len(problems), problems[len(problems)-1], err)
	}
	for _, text := range []string{"", "\n\n", "ELF\x7f", "/sys/devices/a/modalias\n", strings.Repeat("x", 3*maxLine)} {
		if c, _, err := Capture("x", strings.NewReader(text)); c != nil || err == nil || !strings.Contains(err.Error(), "x: there is no modalias in it") {
			t.Errorf("%.20q: %v, %v", text, c, err)
		}
	}
	broken := errors.New("broken")
	for _, before := range []string{"pci:v1\n", strings.Repeat("x", 2*maxLine)} {
		r := io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))
		if c, _, err := Capture("x", r); c != nil || !errors.Is(err, broken) {
			t.Errorf("%.20q: %v, %v", before, c, err)
		}
	}
}

func ExampleCapture() {
	text := "/sys/devices/platform/soc/10008000.virtio_mmio/virtio0/modalias:virtio:d00000001v554D4551\n"
	choices, _, err := Capture("board.txt", strings.NewReader(text))
	fmt.Println(choices, err)
	// Output: [board.txt:1: virtio:d00000001v554D4551] <nil>
}
