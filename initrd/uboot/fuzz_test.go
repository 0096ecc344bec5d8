package uboot

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/kstage/kstage/internal/fdt"
)

// FuzzOpen: whatever comes in, an image or an error comes out; what is read is
// what lies where the image says; and the wrapper of it opens again.
func FuzzOpen(f *testing.F) {
	f.Add(wrapped(f, Legacy{Name: "a", Ramdisk: section([]byte("ok"))}))
	f.Add(compact(inside))
	f.Add(append(compact(outside), "ok"...))
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := Open(bytes.NewReader(data))
		if err != nil {
			if i != nil {
				t.Error("an image and an error")
			}
			return
		}
		body, err := io.ReadAll(i)
		if int64(len(body)) > int64(len(data)) {
			t.Errorf("%d bytes of %d", len(body), len(data))
		}
		if err != nil {
			return
		}
		if len(body) > 0 && i.Format != FormatPlain && !bytes.Equal(body, data[i.Offset:i.Offset+i.Size]) {
			t.Error("other bytes than those of the image")
		}
		again, err := Open(bytes.NewReader(wrapped(t, Legacy{Ramdisk: section(body)})))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
		}
	})
}

// compact is a FIT without the padding of ours, where more of what a fuzzer
// changes matters.
func compact(data func(*fdt.Builder)) []byte {
	b := new(fdt.Builder)
	b.Begin("")
	b.Begin("images")
	b.Begin("r")
	b.Text("type", "ramdisk")
	data(b)
	b.Begin("hash")
	b.Text("algo", "crc32")
	b.Property("value", []byte{0x79, 0xdc, 0xdd, 0x47})
	b.End()
	b.End()
	b.End()
	b.Begin("configurations")
	b.Text("default", "c")
	b.Begin("c")
	b.Text("ramdisk", "r")
	b.End()
	b.End()
	b.End()
	p := b.Bytes()
	return append(p, make([]byte, -len(p)&3)...)
}

// Where the data lie: behind the tree or in it. They are "ok".
func outside(b *fdt.Builder) {
	b.Number("data-offset", 0)
	b.Number("data-size", 2)
}

func inside(b *fdt.Builder) { b.Property("data", []byte("ok")) }

// The compact seeds reach their data.
func TestCompact(t *testing.T) {
	if err := drain(compact(inside)); err != nil {
		t.Error(err)
	}
	if err := drain(append(compact(outside), "xy"...)); err == nil {
		t.Error("the CRC-32 was not compared")
	}
	if err := drain(append(compact(outside), 'o')); !errors.Is(err, errCutOff) {
		t.Error(err)
	}
	if err := drain(append(compact(outside), "ok"...)); err != nil {
		t.Error(err)
	}
}
