package initrd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Images of the programs that distributions use unpack as cpio -idm unpacks their
// parts, an early segment among them.

// TestInitramfsTools has mkinitramfs make one without modules. It looks for the
// kernel's configuration in /boot, which in the test is another one.
func TestInitramfsTools(t *testing.T) {
	gnuCpio(t)
	if _, err := exec.LookPath("mkinitramfs"); err != nil || os.Geteuid() != 0 {
		t.Skip("no mkinitramfs, or no root to run it")
	}
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(p("early/kernel/x86/microcode"), 0o755), os.WriteFile(p("early/kernel/x86/microcode/AuthenticAMD.bin"), words(3000), 0o644))
	early := runIn(t, p("early"), runIn(t, p("early"), nil, "find . -depth"), "cpio -o -H newc --quiet")
	for name, text := range map[string]string{
		"early.cpio":          string(early),
		"conf/initramfs.conf": "MODULES=list\nBUSYBOX=auto\nCOMPRESS=zstd\n",
		"conf/modules":        "",
		"conf/hooks/early":    "#!/bin/sh\n[ \"$1\" = prereqs ] && exit\n. /usr/share/initramfs-tools/hook-functions\nprepend_earlyinitramfs " + p("early.cpio") + "\n",
		"make": "set -e\nmount -t tmpfs none /boot\necho CONFIG_RD_ZSTD=y >/boot/config-6.1.0-none\n" +
			"mkinitramfs -d conf -o image 6.1.0-none\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(p(name)), 0o755), os.WriteFile(p(name), []byte(text), 0o755))
	}
	for _, name := range []string{"scripts", "conf.d", "hooks"} {
		must(t, os.MkdirAll(filepath.Join(dir, "conf", name), 0o755))
	}
	runIn(t, dir, nil, "unshare -m sh make")
	image, err := os.ReadFile(p("image"))
	must(t, err)
	rest, found := bytes.CutPrefix(image, early)
	if !found {
		t.Fatal("the image does not begin with the early segment")
	}
	main := runIn(t, dir, rest, "zstd -qdc")
	want := theirs(t, foreignTool{unpack: "cpio -idm --quiet"}, early, main)
	sameListing(t, timeless("Ld", ours(t, image)), timeless("Ld", want))
}

// TestDracut has dracut make one without a kernel.
func TestDracut(t *testing.T) {
	gnuCpio(t)
	if _, err := exec.LookPath("dracut"); err != nil || os.Geteuid() != 0 {
		t.Skip("no dracut, or no root to run it")
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "conf.d"), 0o755))
	runIn(t, dir, nil, "dracut --quiet --no-kernel --no-hostonly --nostrip --conf /dev/null --confdir conf.d --modules base --kver 6.1.0-none --gzip image")
	image, err := os.ReadFile(filepath.Join(dir, "image"))
	must(t, err)
	want := theirs(t, foreignTool{unpack: "cpio -idm --quiet"}, runIn(t, dir, image, "gzip -dc"))
	sameListing(t, timeless("Ld", ours(t, image)), timeless("Ld", want))
}
