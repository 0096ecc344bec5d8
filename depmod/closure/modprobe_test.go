package closure_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

// What modprobe.d says, in cases that the lab's modules do not have, means to modprobe
// what it means here.
func TestModprobeDirectives(t *testing.T) {
	modprobe := filepath.Join(kotest.Lab(t), "modprobe-34")
	texts := make(map[string]string)
	for p, text := range filesystems {
		texts[dir+"/"+p] = text
	}
	root := kotest.Dir(t, texts)
	tree, err := depmod.Scan(context.Background(), os.DirFS(root), dir, depmod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	writeIndex(t, tree, filepath.Join(root, dir))
	for _, conf := range []string{
		"",
		"alias disk ext4\nalias disk vfat\nalias d?s* nic\n",
		"blacklist nic-old\nblacklist ext4\n",
		"softdep phy pre: simd post: vfat fs-vfat\nsoftdep jbd2 post: nic\nsoftdep crc post: phy pre: simd\n",
		"softdep crc post: jbd2 pre: ext4\nsoftdep simd pre: crc-fast\nsoftdep vfat vfat post: vfat\n",
		"softdep nls_iso8859_1 pre: squashfs fs-squashfs nobody\noptions nls-iso8859-1 a=1\n",
	} {
		confFile := filepath.Join(root, "x.conf")
		if err := os.WriteFile(confFile, []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		c := catalog(t, filesystems, conf)
		for _, name := range []string{"ext4", "vfat", "nic", "phy", "crc", "jbd2", "simd", "nls-iso8859-1", "fs-ext3", "fs-squashfs", "virtio",
			"pci:v00001AF4d00001000sv00sd00bc00sc00i00", "of:NxTyCacme,nic-2", "disk", "crypto-crc", "symbol:simd_use", "nobody"} {
			out, _ := exec.Command(modprobe, "-d", root, "-C", confFile, "-S", tree.Version, "-a", "-D", name).Output() // an error is no line
			var lines, builtin []string                                                                                 // as here, those of the kernel last
			for line := range strings.Lines(string(out)) {
				line = strings.TrimSpace(strings.Replace(line, root+"/"+dir+"/", "", 1))
				if strings.HasPrefix(line, "builtin ") {
					builtin = append(builtin, line)
				} else if !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
			want := strings.Join(append(lines, slices.Compact(builtin)...), "\n")
			if got := likeModprobe(c, name); got != want {
				t.Errorf("%q: %s:\nhave %s\nwant %s", conf, name, got, want)
			}
		}
	}
}

// likeModprobe words what a name takes as modprobe -D does.
func likeModprobe(c *closure.Catalog, name string) string {
	set, err := c.Resolve([]closure.Choice{{Text: name}})
	if err != nil {
		return ""
	}
	var lines []string
	for _, m := range set.Members {
		if m.Mark < closure.Weak {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("insmod %s %s", m.Module.Path, strings.Join(m.Options, " "))))
		}
	}
	for _, m := range set.BuiltIn {
		if m.Mark < closure.Weak {
			lines = append(lines, "builtin "+m.Name)
		}
	}
	return strings.Join(lines, "\n")
}
