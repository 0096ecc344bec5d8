//go:build unix

package uboot

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// U-Boot's own tools decide what is right.

// tool runs one of them, in dir, and returns what it printed.
func tool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("no %s to compare with", args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// inputs makes a directory with what goes into images.
func inputs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{"ramdisk": ramdisk, "kernel": kernel, "dtb": dtb} {
		write(t, dir, name, data)
	}
	return dir
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSameBytesAsMkimage(t *testing.T) {
	dir := inputs(t)
	for _, name := range []string{"initrd 6.12", "", strings.Repeat("long ", 8)} {
		tool(t, dir, "mkimage", "-A", "riscv", "-O", "linux", "-T", "ramdisk", "-C", "none", "-n", name, "-d", "ramdisk", "theirs")
		l := legacy()
		l.Name = name
		if ours, theirs := wrapped(t, l), read(t, dir, "theirs"); !bytes.Equal(ours, theirs) {
			t.Errorf("%q:\nours   %x\ntheirs %x", name, ours[:legacyLen], theirs[:legacyLen])
		}
	}
}

// source is what mkimage makes a FIT from. Each image has the hashes; the
// properties are those of [FIT].
func source(hashes ...string) string {
	var list string
	for i, h := range hashes {
		list += fmt.Sprintf("hash-%d { algo = %q; };\n", i+1, h)
	}
	image := func(node, description, kind, file, more string) string {
		return fmt.Sprintf("%s { description = %q; type = %q; arch = \"riscv\"; compression = \"none\"; data = /incbin/(%q); %s\n%s};\n",
			node, description, kind, file, more, list)
	}
	return "/dts-v1/;\n/ { description = \"initrd 6.12\"; #address-cells = <1>;\nimages {\n" +
		image("kernel-1", "Linux kernel", "kernel", "kernel", `os = "linux"; load = <0x80200000>; entry = <0x80200000>;`) +
		image("ramdisk-1", "initrd", "ramdisk", "ramdisk", `os = "linux";`) +
		image("fdt-1", "device tree", "flat_dt", "dtb", "") +
		"};\nconfigurations { default = \"conf-1\"; conf-1 { description = \"initrd 6.12\";\n" +
		"kernel = \"kernel-1\"; ramdisk = \"ramdisk-1\"; fdt = \"fdt-1\"; }; };\n};\n"
}

// Our FIT and mkimage's are the same tree. Ours has other padding, and its
// properties come in another order.
func TestSameTreeAsMkimage(t *testing.T) {
	dir := inputs(t)
	write(t, dir, "x.its", []byte(source("sha256")))
	tool(t, dir, "mkimage", "-f", "x.its", "theirs")
	write(t, dir, "ours", wrapped(t, fullFIT()))
	dump := func(name string) string { return tool(t, dir, "dtc", "-q", "-s", "-I", "dtb", "-O", "dts", name) }
	if ours, theirs := dump("ours"), dump("theirs"); ours != theirs {
		t.Errorf("ours\n%.3000s\ntheirs\n%.3000s", ours, theirs)
	}
}

// mkimage and dumpimage read ours.
func TestDumpimage(t *testing.T) {
	dir := inputs(t)
	write(t, dir, "uimage", wrapped(t, legacy()))
	write(t, dir, "fit", wrapped(t, fullFIT()))
	for _, list := range []string{"mkimage", "dumpimage"} {
		for _, tt := range []struct{ image, want string }{
			{"uimage", "Image Name:   initrd 6.12\nCreated:      Tue Nov 14 22:13:20 2023\n" +
				"Image Type:   RISC-V Linux RAMDisk Image (uncompressed)\nData Size:    10001 Bytes"},
			{"fit", "Type:         RAMDisk Image\n  Compression:  uncompressed\n  Data Size:    10001 Bytes"},
			{"fit", "Load Address: 0x80200000\n  Entry Point:  0x80200000"},
			{"fit", "Kernel:       kernel-1\n  Init Ramdisk: ramdisk-1\n  FDT:          fdt-1"},
		} {
			if out := tool(t, dir, list, "-l", tt.image); !strings.Contains(out, tt.want) {
				t.Errorf("%s -l %s:\n%s", list, tt.image, out)
			}
		}
	}
	for i, tt := range []struct {
		kind, image, position string
		want                  []byte
	}{
		{"ramdisk", "uimage", "0", ramdisk},
		{"flat_dt", "fit", "0", kernel}, {"flat_dt", "fit", "1", ramdisk}, {"flat_dt", "fit", "2", dtb},
	} {
		out := fmt.Sprint("out", i)
		tool(t, dir, "dumpimage", "-T", tt.kind, "-p", tt.position, "-o", out, tt.image)
		if got := read(t, dir, out); !bytes.Equal(got, tt.want) {
			t.Errorf("%s %s: %d bytes, want %d", tt.image, tt.position, len(got), len(tt.want))
		}
	}
}

// Images that mkimage made: with its data inside the tree and outside, and with
// each hash it knows.
func TestOpenMkimage(t *testing.T) {
	dir := inputs(t)
	write(t, dir, "x.its", []byte(source("crc32", "md5", "sha1", "sha256", "sha384", "sha512")))
	for name, args := range map[string][]string{
		"inside":      {"-f", "x.its"},
		"outside":     {"-E", "-f", "x.its"},
		"at a place":  {"-E", "-p", "0x2000", "-f", "x.its"},
		"aligned":     {"-E", "-B", "0x1000", "-f", "x.its"},
		"uimage":      {"-A", "riscv", "-O", "linux", "-T", "ramdisk", "-C", "none", "-d", "ramdisk"},
		"gzip, arm64": {"-A", "arm64", "-O", "linux", "-T", "ramdisk", "-C", "gzip", "-d", "ramdisk"},
	} {
		tool(t, dir, append(append([]string{"mkimage"}, args...), "theirs")...)
		image := read(t, dir, "theirs")
		i, err := Open(bytes.NewReader(image))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(i); err != nil || !bytes.Equal(got, ramdisk) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if strings.HasSuffix(name, "arm64") != (i.Arch == "arm64") {
			t.Errorf("%s: %s", name, i.Arch)
		}
		image[i.Offset] ^= 1
		if err := drain(image); err == nil {
			t.Errorf("%s: damage was not found", name)
		}
	}
}

// A kernel is not an initrd.
func TestOpenKernel(t *testing.T) {
	dir := inputs(t)
	tool(t, dir, "mkimage", "-A", "riscv", "-O", "linux", "-T", "kernel", "-C", "none", "-d", "kernel", "theirs")
	if err := drain(read(t, dir, "theirs")); err == nil || err.Error() != "uimage: holds an image of type 2, not a ramdisk (type 3)" {
		t.Error(err)
	}
}
