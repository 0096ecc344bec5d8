package firmware_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/firmware"
	"github.com/kstage/kstage/internal/kotest"
)

// names makes names without modules.
func names(texts ...string) []firmware.Name {
	var all []firmware.Name
	for _, text := range texts {
		all = append(all, firmware.Name{Name: text})
	}
	return all
}

// directory makes a file system of files and, written as "link -> target", links.
func directory(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, file := range files {
		var name, target string
		if n, _ := fmt.Sscanf(file, "%s -> %s", &name, &target); n == 2 {
			fsys[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		fsys[file] = &fstest.MapFile{Mode: 0o644}
	}
	return fsys
}

// texts writes a set as directory reads it, with what is missing behind a '!'.
func texts(set firmware.Set) []string {
	var all []string
	for _, f := range set.Files {
		if f.Target != "" {
			f.Path += " -> " + f.Target
		}
		all = append(all, f.Path)
	}
	for _, m := range set.Missing {
		text := "! " + m.Name.Name
		if m.Why != "" {
			text += ": " + m.Why
		}
		all = append(all, text)
	}
	return all
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name        string
		dir         fstest.MapFS
		names, want []string
	}{
		{"a file", directory("rtl_nic/rtl8168h-2.fw", "rtl_nic/other.fw"), []string{"rtl_nic/rtl8168h-2.fw"}, []string{"rtl_nic/rtl8168h-2.fw"}},
		{"nothing", directory("a"), []string{"b"}, []string{"! b"}},
		{"a directory is no file", directory("a/b"), []string{"a"}, []string{"! a"}},
		{"a file is no directory", directory("a"), []string{"a/b"}, []string{"! a/b"}},

		// fw_path[] in drivers/base/firmware_loader/main.c: updates/VERSION first
		{"places", directory("a", "6.12.0/a", "updates/a", "updates/6.12.0/a", "6.12.0/b", "b", "updates/c", "6.12.0/c", "6.11.0/d"),
			[]string{"a", "b", "c", "d"}, []string{"6.12.0/b", "updates/6.12.0/a", "updates/c", "! d"}},
		// _request_firmware: first the plain file in all places, then .zst, then .xz
		{"packed", directory("a.zst", "a.xz", "b.xz", "updates/c.zst", "c", "d.gz"),
			[]string{"a", "b", "c", "d"}, []string{"a.zst", "b.xz", "c", "! d"}},

		{"link", directory("brcm/x.bin -> ../cypress/y.bin", "cypress/y.bin"), []string{"brcm/x.bin"},
			[]string{"brcm/x.bin -> ../cypress/y.bin", "cypress/y.bin"}},
		{"packed link", directory("x.bin.xz -> y.bin.xz", "y.bin.xz -> z.bin.xz", "z.bin.xz"), []string{"x.bin"},
			[]string{"x.bin.xz -> y.bin.xz", "y.bin.xz -> z.bin.xz", "z.bin.xz"}},
		{"link to a directory", directory("new -> old/../older", "older/a", "old/b"), []string{"new/a"},
			[]string{"new -> old/../older", "older/a"}},
		{"absolute link", directory("a -> /lib/firmware/b", "b", "c -> /usr/lib/firmware/b"), []string{"a", "c"},
			[]string{"a -> /lib/firmware/b", "b", "c -> /usr/lib/firmware/b"}},
		{"link to nothing", directory("a -> b"), []string{"a"}, []string{"! a: the link a leads to nothing, b"}},
		{"link to nothing, but packed", directory("a -> b", "a.xz"), []string{"a"}, []string{"a.xz"}},
		{"link out", directory("a -> ../b", "b", "c -> /etc/passwd"), []string{"a", "c"},
			[]string{"! a: a link leads out of the firmware directory", "! c: the link c leads out of the firmware directory, to /etc/passwd"}},
		{"link to itself", directory("a -> a"), []string{"a"}, []string{"! a: the link a cannot be followed"}},

		{"pattern", directory("brcm/m4-sdio.raspberrypi,4-model-b.bin", "brcm/m5-sdio.x.bin.xz", "brcm/m5-sdio.bin", "brcm/sub/m6-sdio.x.bin", "updates/brcm/m7-sdio.y.bin"),
			[]string{"brcm/m*-sdio.*.bin"},
			[]string{"brcm/m4-sdio.raspberrypi,4-model-b.bin", "brcm/m5-sdio.x.bin.xz", "updates/brcm/m7-sdio.y.bin"}},
		{"pattern of links", directory("ath11k/hw2.0/a.bin -> ../hw2.1/a.bin", "ath11k/hw2.1/a.bin", "ath11k/hw2.0/board/c"),
			[]string{"ath11k/hw2.0/*"}, []string{"ath11k/hw2.0/a.bin -> ../hw2.1/a.bin", "ath11k/hw2.1/a.bin"}},
		{"pattern without a match", directory("a"), []string{"b*"}, []string{"! b*"}},
		{"a name like a pattern", directory("a[1].bin"), []string{"a[1].bin"}, []string{"a[1].bin"}},
		{"bad names", directory("a"), []string{"../a", "/a", "", "a//b", "["},
			[]string{"! ../a: its name is no path below /lib/firmware", "! /a: its name is no path below /lib/firmware", "! : its name is no path below /lib/firmware",
				"! a//b: its name is no path below /lib/firmware", "! [: its name is no pattern"}},
		{"once", directory("a", "b -> a"), []string{"a", "b", "a"}, []string{"a", "b -> a"}},
	} {
		if diff := cmp.Diff(c.want, texts(firmware.Find(c.dir, "6.12.0", names(c.names...)))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestNames(t *testing.T) {
	fsys := kotest.FS(t, map[string]string{
		"lib/modules/6.12.0/a.ko":   "modinfo firmware=two.bin\nmodinfo firmware=one.bin\nmodinfo firmware=one.bin",
		"lib/modules/6.12.0/b.ko":   "modinfo firmware=one.bin",
		"lib/modules/6.12.0/bad.ko": "modinfo firmware=three.bin",

		"lib/modules/6.12.0/modules.order": "a.ko\nb.ko\n",
	})
	fsys["lib/modules/6.12.0/bad.ko"].Data = []byte("no module")
	tree, err := depmod.Scan(context.Background(), fsys, "lib/modules/6.12.0", depmod.Options{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range firmware.Names(tree.Modules) {
		for _, m := range n.Modules {
			got = append(got, n.Name+" "+m.Name)
		}
	}
	if diff := cmp.Diff([]string{"one.bin a", "one.bin b", "two.bin a"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRealNames takes the names of real drivers: one that is for many boards, one that
// names all files of a directory, one without firmware. The files are called as in
// linux-firmware and in Debian's firmware-brcm80211.
func TestRealNames(t *testing.T) {
	root := kotest.LabTree(t, "plain")
	version := kotest.LabVersion(t)
	modules := kotest.FS(t, nil)
	dir := directory(
		"brcm/brcmfmac43455-sdio.bin -> ../cypress/cyfmac43455-sdio.bin",
		"brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.bin -> ../cypress/cyfmac43455-sdio.bin",
		"brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt",
		"brcm/brcmfmac43455-sdio.clm_blob.xz",
		"brcm/brcmfmac43430-sdio.bin.zst",
		"brcm/brcmfmac43430-sdio.txt", // named by no module
		"brcm/bcm43xx-0.fw",           // of another
		"cypress/cyfmac43455-sdio.bin",
		"ath11k/WCN6855/hw2.0/amss.bin", "ath11k/WCN6855/hw2.0/board-2.bin",
		"ath11k/WCN6855/hw2.1 -> hw2.0",
		"ath11k/IPQ8074/hw2.0/board-2.bin",
	)
	for _, file := range []string{"drivers/net/wireless/broadcom/brcm80211/brcmfmac/brcmfmac.ko", "drivers/net/wireless/ath/ath11k/ath11k_pci.ko", "fs/ext4/ext4.ko"} {
		name := path.Join("lib/modules", version, "kernel", file)
		modules[name] = &fstest.MapFile{Data: readFile(t, root, name), Mode: 0o644}
	}
	tree, err := depmod.Scan(context.Background(), modules, "lib/modules/"+version, depmod.Options{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	set := firmware.Find(dir, version, firmware.Names(tree.Modules))
	want := []string{
		"ath11k/WCN6855/hw2.0/amss.bin",
		"ath11k/WCN6855/hw2.0/board-2.bin",
		"ath11k/WCN6855/hw2.1 -> hw2.0",
		"brcm/brcmfmac43430-sdio.bin.zst",
		"brcm/brcmfmac43455-sdio.bin -> ../cypress/cyfmac43455-sdio.bin",
		"brcm/brcmfmac43455-sdio.clm_blob.xz",
		"brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.bin -> ../cypress/cyfmac43455-sdio.bin",
		"brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt",
		"cypress/cyfmac43455-sdio.bin",
	}
	missing := set.Missing
	set.Missing = nil
	if diff := cmp.Diff(want, texts(set)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	gone := make(map[string]bool)
	for _, m := range missing {
		gone[m.Name.Name] = true
	}
	for _, name := range []string{"ath11k/QCA6390/hw2.0/*", "brcm/brcmfmac*-pcie.*.bin", "brcm/brcmfmac4373-sdio.bin"} {
		if !gone[name] {
			t.Errorf("%s is not there, but nobody says so", name)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("brcm/m*-sdio.*.bin", "../x", "m1-sdio.y.bin")
	f.Add("a/b", "c", "b")
	f.Add("a", "/lib/firmware/a", "b")
	f.Fuzz(func(t *testing.T, name, target, file string) {
		dir := directory("a/b", "c/b.xz", "brcm/m4-sdio.z.bin")
		dir["link"] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
		if fs.ValidPath(file) && file != "." {
			dir["brcm/"+file] = &fstest.MapFile{Mode: 0o644}
		}
		set := firmware.Find(dir, "6.12.0", names(name, "link", "link/b", "a/b"))
		last := ""
		for _, found := range set.Files {
			if !fs.ValidPath(found.Path) || found.Path <= last {
				t.Errorf("%q after %q", found.Path, last)
			}
			if info, err := fs.Lstat(dir, found.Path); err != nil || info.Mode().IsRegular() != (found.Target == "") {
				t.Errorf("%q -> %q is not there: %v", found.Path, found.Target, err)
			}
			last = found.Path
		}
		if last == "" {
			t.Error("a/b is there")
		}
	})
}

func ExampleFind() {
	dir := fstest.MapFS{
		"rtl_nic/rtl8168h-2.fw.zst":         {Data: []byte("(packed)")},
		"brcm/brcmfmac43455-sdio.board.bin": {Data: []byte("../cypress/cyfmac43455-sdio.bin"), Mode: fs.ModeSymlink},
		"cypress/cyfmac43455-sdio.bin":      {Data: []byte("(firmware)")},
	}
	set := firmware.Find(dir, "6.12.0", []firmware.Name{
		{Name: "rtl_nic/rtl8168h-2.fw"}, {Name: "brcm/brcmfmac*-sdio.*.bin"}, {Name: "e100/d101m_ucode.bin"}})
	for _, file := range set.Files {
		fmt.Println(file.Path)
	}
	fmt.Println("missing:", set.Missing[0].Name.Name)
	// Output:
	// brcm/brcmfmac43455-sdio.board.bin
	// cypress/cyfmac43455-sdio.bin
	// rtl_nic/rtl8168h-2.fw.zst
	// missing: e100/d101m_ucode.bin
}

func readFile(t *testing.T, root, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
