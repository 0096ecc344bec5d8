package uboot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kstage/kstage/internal/fdt"
)

// Data of sizes that fill up words and pages, and that do not.
var (
	ramdisk = pattern(10_001, 1)
	kernel  = kernelImage(8191)
	dtb     = deviceTree()
)

func pattern(n int, step byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>8) + byte(i)*step
	}
	return p
}

// kernelImage has the magic that tells a riscv kernel.
func kernelImage(n int) []byte {
	p := pattern(n, 3)
	copy(p[56:], "RSC\x05")
	return p
}

// deviceTree is an empty one.
func deviceTree() []byte {
	var b fdt.Builder
	b.Begin("")
	b.End()
	return b.Bytes()
}

func section(p []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(p), 0, int64(len(p)))
}

// wrapper is either of the two.
type wrapper interface {
	Size() (int64, error)
	Write(context.Context, io.Writer) error
}

func wrapped(t testing.TB, w wrapper) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := w.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Size(); n != int64(out.Len()) || err != nil {
		t.Errorf("wrote %d bytes, Size said %d, %v", out.Len(), n, err)
	}
	return out.Bytes()
}

func legacy() Legacy {
	return Legacy{Name: "initrd 6.12", Time: 1_700_000_000, Ramdisk: section(ramdisk)}
}

func fullFIT() FIT {
	return FIT{Name: "initrd 6.12", Time: 1_700_000_000, Ramdisk: section(ramdisk),
		Kernel: section(kernel), DeviceTree: section(dtb), Load: 0x80200000}
}

func TestOpenOwn(t *testing.T) {
	small := FIT{Name: "small", Ramdisk: section([]byte("x"))}
	tests := []struct {
		name string
		data []byte
		want Image
		body []byte
	}{
		{"plain", ramdisk, Image{}, ramdisk},
		{"empty", nil, Image{}, nil},
		{"short", []byte("ab"), Image{}, []byte("ab")},
		{"uimage", wrapped(t, legacy()), Image{Format: FormatLegacy, Name: "initrd 6.12", Arch: "riscv",
			Time: 1_700_000_000, Offset: 64, Size: int64(len(ramdisk))}, ramdisk},
		{"fit", wrapped(t, fullFIT()), Image{Format: FormatFIT, Name: "initrd 6.12", Arch: "riscv",
			Time: 1_700_000_000, Offset: 4 * dataAlign, Size: int64(len(ramdisk))}, ramdisk},
		{"small fit", wrapped(t, small), Image{Format: FormatFIT, Name: "small", Arch: "riscv",
			Offset: dataAlign, Size: 1}, []byte("x")},
	}
	for _, tt := range tests {
		i, err := Open(bytes.NewReader(tt.data))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		body, err := io.ReadAll(i)
		if err != nil || !bytes.Equal(body, tt.body) {
			t.Errorf("%s: read %d bytes of %d, %v", tt.name, len(body), len(tt.body), err)
		}
		if i.Format != tt.want.Format || i.Name != tt.want.Name || i.Arch != tt.want.Arch ||
			i.Time != tt.want.Time || i.Offset != tt.want.Offset || i.Size != tt.want.Size {
			t.Errorf("%s: %+v, want %+v", tt.name, i, tt.want)
		}
	}
}

// A uImage can be read from a pipe, a FIT cannot.
func TestOpenPipe(t *testing.T) {
	i, err := Open(iotest.OneByteReader(bytes.NewReader(wrapped(t, legacy()))))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(i); err != nil || !bytes.Equal(body, ramdisk) {
		t.Errorf("read %d bytes, %v", len(body), err)
	}
	if _, err := Open(io.MultiReader(bytes.NewReader(wrapped(t, fullFIT())))); err != ErrPipe {
		t.Error(err)
	}
}

// Every single damaged byte of header and data of a uImage is found.
func TestDamagedLegacy(t *testing.T) {
	image := wrapped(t, Legacy{Name: "x", Ramdisk: section(ramdisk[:100])})
	for i := 4; i < len(image); i++ { // the first four tell that it is one
		image[i] ^= 0x10
		if err := drain(image); err == nil {
			t.Errorf("damage at byte %d was not found", i)
		}
		image[i] ^= 0x10
	}
	for n := 4; n < len(image); n++ {
		if err := drain(image[:n]); !errors.Is(err, errCutOff) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
	if err := drain(image); err != nil {
		t.Error(err)
	}
}

// Every damaged byte of the ramdisk in a FIT is found, and every cut, whether
// or not the ramdisk is hit: its names stand at the end.
func TestDamagedFIT(t *testing.T) {
	image := wrapped(t, FIT{Ramdisk: section(ramdisk[:100])})
	for i := dataAlign; i < dataAlign+100; i++ {
		image[i] ^= 0x10
		if err := drain(image); err == nil || !strings.Contains(err.Error(), "ramdisk-1: the sha256 is") {
			t.Errorf("damage at byte %d: %v", i, err)
		}
		image[i] ^= 0x10
	}
	for n := 4; n < len(image); n++ {
		if err := drain(image[:n]); !errors.Is(err, fdt.ErrCutOff) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
	if err := drain(image); err != nil {
		t.Error(err)
	}
}

func drain(image []byte) error {
	i, err := Open(bytes.NewReader(image))
	if err == nil {
		_, err = io.Copy(io.Discard, i)
	}
	return err
}

// What the reader refuses, and what it says. What is wrong with the tree itself
// is internal/fdt's.
func TestRefused(t *testing.T) {
	good := wrapped(t, FIT{Ramdisk: section(ramdisk)})
	at := func(s string) int { return bytes.Index(good, []byte(s)) }
	tests := []struct {
		name   string
		damage func(p []byte)
		want   string
	}{
		{"version", func(p []byte) { p[23] = 16 }, "fit: the tree has version 16"},
		{"struct", func(p []byte) { p[36] = 0xff }, "fit: the struct block, bytes 56 to 42"},
		{"token", func(p []byte) { p[59] = 7 }, "fit: offset 56: there is no token 7"},
		{"no ramdisk", func(p []byte) { copy(p[at("ramdisk\x00"):], "rumdisk") }, "there is no ramdisk ramdisk-1, which conf-1 names"},
		{"hash", func(p []byte) { copy(p[at("sha256"):], "sha257") }, `hash-1: there is no algorithm "sha257"`},
		{"no data", func(p []byte) { copy(p[at("\x00data\x00"):], "\x00dada") }, "ramdisk-1 has no data"},
	}
	for _, tt := range tests {
		p := bytes.Clone(good)
		tt.damage(p)
		if err := drain(p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// Trees that cost more than they should.
func TestLimits(t *testing.T) {
	tests := []struct {
		name string
		fill func(*fdt.Builder)
		want string
	}{
		{"value", func(b *fdt.Builder) { b.Text("description", strings.Repeat("x", fdt.MaxValue)) }, "description has 1025 bytes, more than 1024"},
		{"hashes", func(b *fdt.Builder) {
			b.Begin("images")
			b.Begin("r")
			b.Text("type", "ramdisk")
			b.Text("data", "")
			for i := range maxHashes + 1 {
				b.Begin("hash-" + string(rune('a'+i)))
				b.Text("algo", "sha512")
				b.End()
			}
			b.End()
			b.End()
		}, "r has 9 hashes, more than 8"},
	}
	for _, tt := range tests {
		var b fdt.Builder
		b.Begin("")
		tt.fill(&b)
		b.End()
		if err := drain(b.Bytes()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// What cannot be written.
func TestWriteErrors(t *testing.T) {
	r := section(ramdisk)
	huge := func(n int64) *io.SectionReader { return io.NewSectionReader(zeros{}, 0, n) }
	cutTree := bytes.Clone(dtb)
	cutTree[7]++
	tests := []struct {
		name string
		w    wrapper
		want string
	}{
		{"4 GiB uimage", Legacy{Ramdisk: huge(1 << 32)}, "uimage: the ramdisk has 4294967296 bytes, at most 4294967295 fit"},
		{"2 GiB fit", FIT{Ramdisk: huge(1<<31 - dataAlign)}, "bytes, at most 2147483647 work"},
		{"6 GiB fit", FIT{Ramdisk: huge(6 << 30)}, "fit: would have 6442455"},
		{"kernel", FIT{Ramdisk: r, Kernel: r}, "fit: the kernel is not an uncompressed riscv Image"},
		{"empty kernel", FIT{Ramdisk: r, Kernel: section(nil)}, "fit: the kernel is not"},
		{"address", FIT{Ramdisk: r, Kernel: section(kernel), Load: 0x80100000}, "cannot run at 0x80100000, which is no multiple of 2 MiB"},
		{"tree", FIT{Ramdisk: r, DeviceTree: r}, "fit: the device tree is not a flattened one"},
		{"cut tree", FIT{Ramdisk: r, DeviceTree: section(cutTree)}, "the device tree is cut off"},
		{"shrunk", Legacy{Ramdisk: io.NewSectionReader(bytes.NewReader(ramdisk), 0, 20_000)}, "has 10001 bytes, not the 20000"},
		{"changed", FIT{Ramdisk: io.NewSectionReader(new(changing), 0, 4)}, "fit: ramdisk: has changed while it was read"},
	}
	for _, tt := range tests {
		if err := tt.w.Write(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range []wrapper{legacy(), fullFIT()} {
		if err := w.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := w.Write(t.Context(), full{}); !errors.Is(err, errFull) {
			t.Error(err)
		}
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// changing reads otherwise each time.
type changing byte

func (c *changing) ReadAt(p []byte, _ int64) (int, error) {
	*c++
	p[0] = byte(*c)
	return len(p), nil
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// An address above 4 GiB takes two cells.
func TestAddress(t *testing.T) {
	f := fullFIT()
	f.Load = 0x10_80200000
	image := wrapped(t, f)
	if !bytes.Contains(image, []byte{0, 0, 0, 0x10, 0x80, 0x20, 0, 0}) {
		t.Error("the address is not there")
	}
	if err := drain(image); err != nil {
		t.Error(err)
	}
}
