package machine

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzDeviceTree: an error or devices; each says where it is, and the text is
// that of an alias; never more of it than the tree has bytes, times the depth.
func FuzzDeviceTree(f *testing.F) {
	f.Add(board())
	f.Add(board()[:200])
	f.Fuzz(func(t *testing.T, data []byte) {
		choices, err := DeviceTree("x", bytes.NewReader(data))
		if err != nil && choices != nil {
			t.Error("devices and an error")
		}
		for _, c := range choices {
			if !strings.HasPrefix(c.From, "x:/") {
				t.Errorf("%q", c.From)
			}
			bus, rest, found := strings.Cut(c.Text, ":")
			if !found || !strings.Contains(" of i2c spi mdio ", " "+bus+" ") || bus == "of" && !strings.HasPrefix(rest, "N") {
				t.Errorf("%q", c.Text)
			}
			if len(c.Text) > len(data)+100 {
				t.Errorf("%d bytes of alias from %d", len(c.Text), len(data))
			}
		}
	})
}

// FuzzCapture: an error or modaliases, each once; read again they are the same.
func FuzzCapture(f *testing.F) {
	f.Add([]byte("/sys/a/modalias:pci:v1\nE: MODALIAS=of:Nx\nvirtio:d1\r\n\x00junk\n"))
	f.Add([]byte("/sys/a/modalias\nusb:v1D6Bp0002\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		choices, problems, err := Capture("x", bytes.NewReader(data))
		if err != nil {
			if choices != nil || problems != nil {
				t.Error("a result and an error")
			}
			return
		}
		if len(problems) > maxSkipped+1 {
			t.Errorf("%d problems", len(problems))
		}
		text := strings.Join(texts(choices), "\n")
		again, problems, err := Capture("x", strings.NewReader(text))
		if err != nil || len(problems) > 0 || strings.Join(texts(again), "\n") != text {
			t.Errorf("%q became %q, %v, %v", text, texts(again), problems, err)
		}
	})
}
