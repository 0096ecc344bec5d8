package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// kernelMakefiles are the kernel's own Makefiles, as Debian's linux-headers packages have
// them.
func kernelMakefiles(t *testing.T) []string {
	t.Helper()
	const how = "install make and the package linux-headers-amd64 (or that of another processor)"
	found, err := filepath.Glob("/usr/src/linux-headers-*-common/scripts/Makefile.modinst")
	if _, noMake := exec.LookPath("make"); err != nil || noMake != nil || len(found) == 0 {
		if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	for i, name := range found {
		found[i] = filepath.Dir(filepath.Dir(name))
	}
	return found
}

const makeVersion = "6.12.0-made"

// buildDir makes what a kernel's build leaves for make modules_install. Up to 6.1
// modules.order names modules, later objects.
func buildDir(t *testing.T, makefiles, packing string) string {
	t.Helper()
	module := "modinfo license=GPL\nmodinfo vermagic=" + makeVersion + " SMP mod_unload riscv\n"
	ending := ".o"
	if strings.Contains(makefiles, "headers-6.1.") {
		ending = ".ko"
	}
	config := "CONFIG_MODULES=y\n"
	if packing != "none" {
		config += "CONFIG_MODULE_COMPRESS=y\nCONFIG_MODULE_COMPRESS_ALL=y\nCONFIG_MODULE_COMPRESS_" + strings.ToUpper(packing) + "=y\n"
	}
	return kotest.Dir(t, map[string]string{
		"Makefile":                      "include " + makefiles + "/Makefile\n",
		".config":                       config,
		"include/config/auto.conf":      config,
		"include/config/kernel.release": makeVersion + "\n",
		"include/generated/autoconf.h":  "",
		"include/generated/rustc_cfg":   "",
		"System.map":                    "0000000000000000 T _start\n",
		"modules.order":                 "fs/jbd2/jbd2" + ending + "\nfs/ext4/ext4" + ending + "\nlib/with-dash" + ending + "\n",
		"modules.builtin":               "kernel/lib/crc16.ko\n",
		"modules.builtin.modinfo":       "crc16.license=GPL\x00crc16.file=lib/crc16\x00crc16.alias=crypto-crc16\x00",
		"fs/jbd2/jbd2.ko":               module + "export jbd2_start\n",
		"fs/ext4/ext4.ko":               module + "modinfo alias=fs-ext4\nneed jbd2_start\nlabel 3000\n",
		"lib/with-dash.ko":              module + "modinfo alias=of:N*T*Cx,y\nsignature id=2 01020304\n",
		"lib/not-listed.ko":             module,
	})
}

// oldTree is what was installed before: an earlier build's modules, and one from outside.
func oldTree(t *testing.T) string {
	t.Helper()
	return kotest.Dir(t, map[string]string{
		"lib/modules/" + makeVersion + "/kernel/gone/gone.ko":     "modinfo license=GPL",
		"lib/modules/" + makeVersion + "/kernel/fs/ext4/ext4.ko":  "modinfo license=old",
		"lib/modules/" + makeVersion + "/updates/mine.ko":         "modinfo license=GPL\nneed jbd2_start",
		"lib/modules/" + makeVersion + "/modules.order":           "kernel/gone/gone.ko\n",
		"lib/modules/9.9.9/kernel/of/another.ko":                  "modinfo license=GPL",
		"lib/modules/" + makeVersion + "/modules.builtin.modinfo": "",
	})
}

// TestInstallEqualsMake installs the same build twice: with the kernel's own Makefile and
// kmod 34's depmod, and with kstage.
func TestInstallEqualsMake(t *testing.T) {
	depmod34 := filepath.Join(kotest.Lab(t), "depmod-34")
	for _, makefiles := range kernelMakefiles(t) {
		for _, packing := range []string{"none", "gzip", "xz", "zstd"} {
			t.Run(filepath.Base(makefiles)+"/"+packing, func(t *testing.T) {
				build := buildDir(t, makefiles, packing)
				want, got := oldTree(t), oldTree(t)
				runMake(t, build, "modules_install", "INSTALL_MOD_PATH="+want, "DEPMOD="+depmod34)
				runInstall(t, "-b", got, "--kernel-build", build)
				wantFiles, gotFiles := readTree(t, want), readTree(t, got)
				if packing == "gzip" {
					withoutIndex(wantFiles)
					withoutIndex(gotFiles)
				}
				if diff := cmp.Diff(wantFiles, gotFiles); diff != "" {
					t.Errorf("-make +kstage:\n%s", diff)
				}
			})
		}
	}
}

// TestInstallOutsideEqualsMake does so for modules from outside the kernel.
func TestInstallOutsideEqualsMake(t *testing.T) {
	depmod34 := filepath.Join(kotest.Lab(t), "depmod-34")
	for _, makefiles := range kernelMakefiles(t) {
		t.Run(filepath.Base(makefiles), func(t *testing.T) {
			build := buildDir(t, makefiles, "zstd")
			source := kotest.Dir(t, map[string]string{
				"hello.ko":     "modinfo vermagic=" + makeVersion + " SMP\nneed jbd2_start",
				"sub/world.ko": "modinfo vermagic=" + makeVersion + " SMP\nexport world",
			})
			ending := ".o"
			if strings.Contains(makefiles, "headers-6.1.") {
				ending = ".ko"
			}
			order := source + "/hello" + ending + "\n" + source + "/sub/world" + ending + "\n"
			if err := os.WriteFile(filepath.Join(source, "modules.order"), []byte(order), 0o644); err != nil {
				t.Fatal(err)
			}
			want, got := t.TempDir(), t.TempDir()
			for _, root := range []string{want, got} {
				runInstall(t, "-b", root, "--kernel-build", build)
			}
			runMake(t, build, "M="+source, "modules_install", "INSTALL_MOD_PATH="+want, "INSTALL_MOD_DIR=updates", "DEPMOD="+depmod34)
			runInstall(t, "-b", got, "--kernel-build", build, source)
			if diff := cmp.Diff(readTree(t, want), readTree(t, got)); diff != "" {
				t.Errorf("-make +kstage:\n%s", diff)
			}
		})
	}
}

// withoutIndex drops what depmod has made: Debian's knows no gzip and lists no .ko.gz.
func withoutIndex(files map[string]string) {
	for name := range files {
		switch path.Base(name) {
		case "modules.order", "modules.builtin", "modules.builtin.modinfo":
		default:
			if strings.HasPrefix(path.Base(name), "modules.") {
				delete(files, name)
			}
		}
	}
}

func runMake(t *testing.T, build string, args ...string) {
	t.Helper()
	cmd := exec.Command("make", append([]string{"-s", "-C", build, "ARCH=riscv"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %q: %v\n%s", args, err, out)
	}
}

func runInstall(t *testing.T, args ...string) {
	t.Helper()
	var out, said bytes.Buffer
	if status := run(append([]string{"install"}, args...), &out, &said); status != exitOK {
		t.Fatalf("kstage install %q: exit status %d\n%s", args, status, said.String())
	}
}

// readTree gives what lies in a tree, by path: modules unpacked, links by their target.
// What the library gives for make's compressors need not be the same bytes, but it must be
// the same name and content. The link source, which 6.1 makes besides build,
// is left out.
func readTree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	var unpacker modinfo.Unpacker
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "source" {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(name), filepath.ToSlash(root))
		kind := fmt.Sprintf("%v ", info.Mode())
		switch {
		case d.IsDir():
			files[rel] = kind
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			files[rel] = kind + to
			return err
		default:
			data, err := os.ReadFile(name)
			if err == nil && depmod.ModuleSuffix(name) != "" {
				data, _, err = unpacker.Unpack(bytes.NewReader(data), int64(len(data)))
			}
			files[rel] = kind + string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPackedForKernel asks the tools what install has packed.
func TestPackedForKernel(t *testing.T) {
	tool := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	root := kotest.Dir(t, map[string]string{"lib/modules/6.12.0/kernel/a.ko": "modinfo license=GPL\nlabel 9000"})
	dir := filepath.Join(root, "lib/modules/6.12.0/kernel")
	plain, err := os.ReadFile(filepath.Join(dir, "a.ko"))
	if err != nil {
		t.Fatal(err)
	}
	// the dictionary is no larger than the module needs, and than 1 MiB, the kernel's most
	for _, c := range []struct {
		packing, file string
		unpack        []string
		list          []string
		want          []string
	}{
		{"xz", "a.ko.xz", []string{"xz", "-dc"}, []string{"xz", "-lvv"}, []string{"CRC32", "dict=256KiB"}},
		{"zstd", "a.ko.zst", []string{"zstd", "-dcq"}, []string{"zstd", "-lv"}, []string{"XXH64"}},
		{"gzip", "a.ko.gz", []string{"gzip", "-dc"}, []string{"gzip", "-lv"}, nil},
	} {
		if _, err := exec.LookPath(c.unpack[0]); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			continue
		}
		runInstall(t, "-b", root, "--compress", c.packing)
		name := filepath.Join(dir, c.file)
		if out := tool(append(c.unpack, name)...); out != string(plain) {
			t.Errorf("%s: it unpacks to something else", c.file)
		}
		said := tool(append(c.list, name)...)
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %s in\n%s", c.file, want, said)
			}
		}
	}
	packed, err := os.ReadFile(filepath.Join(dir, "a.ko.gz"))
	if err != nil {
		t.Fatal(err)
	}
	// RFC 1952, 2.3: flags 0 mean no name, the next four bytes are the time
	if !bytes.Equal(packed[3:8], make([]byte, 5)) {
		t.Errorf("gzip: flags and time are % x", packed[3:8])
	}
}
