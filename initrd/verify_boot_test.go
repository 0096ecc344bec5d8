//go:build linux

package initrd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/imagetest"
)

// These tests boot the crafted images behind a segment with an init that lists what
// has been unpacked, and compare what the kernel says and has done with what Verify
// and ramfs make of the same image.

// One boot is enough for all that lets the kernel go on.
func TestBootCraftedWhole(t *testing.T) {
	image := bootHead(t, "list")
	for _, name := range slices.Sorted(maps.Keys(crafted)) {
		if name != "good-lz4-end" && !endsReading(crafted[name]) {
			image = append(image, make([]byte, -len(image)&3)...)
			image = append(image, craftedFile(t, name)...)
		}
	}
	compareBoot(t, image)
}

// endsReading says whether the findings are of an image that cannot be read to its end.
func endsReading(findings string) bool {
	return strings.Contains(findings, "stops") || strings.Contains(findings, "cut-off") || strings.Contains(findings, "damaged")
}

func TestBootCraftedStops(t *testing.T) {
	head := bootHead(t, "list")
	for name, findings := range crafted {
		if !endsReading(findings) && name != "good-lz4-end" || strings.HasSuffix(name, "-first-frame") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareBoot(t, append(slices.Clip(head), craftedFile(t, name)...))
		})
	}
}

// What must not stand at the beginning of the first frame. There is no init then.
func TestBootFirstFrame(t *testing.T) {
	for _, name := range []string{"empty-first-frame", "zeros-first-frame"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := craftedFile(t, name)
			report, err := Verify(bytes.NewReader(image), Kernel{})
			must(t, err)
			said, console := bootImage(t, image, "")
			if said != report.Findings[0].Kernel || said == "" {
				t.Errorf("the kernel says %q, not %q", said, report.Findings[0].Kernel)
			}
			if !strings.Contains(console, "Unable to mount root fs") {
				t.Error("the kernel did not look for a root file system")
			}
		})
	}
}

// Half of the memory that is left is for files, and an inode for every second page of it.
func TestBootMemory(t *testing.T) {
	const mib8 = "\"\" data=0*8388608\n"
	head := bootHead(t, "wait-for /three 0", "wait-for /d/5000 0", "wait-for /d/8999 0")
	var dirs strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&dirs, "file d/%d\n", i)
	}
	tests := map[string]struct {
		memory int64
		image  string
		exits  []int // of the three commands
		silent bool
	}{
		"files":       {128 << 20, "gzip\nfile one " + mib8 + "file two " + mib8 + "file three " + mib8 + "file four " + mib8 + "trailer\nend", []int{0, 1, 1}, false},
		"files fit":   {160 << 20, "gzip\nfile one " + mib8 + "file two " + mib8 + "file three " + mib8 + "file four " + mib8 + "trailer\nend", []int{0, 1, 1}, false},
		"inodes":      {128 << 20, "gzip\ndir d\n" + dirs.String() + "trailer\nend", []int{1, 0, 1}, true},
		"inodes fit":  {160 << 20, "gzip\ndir d\n" + dirs.String() + "trailer\nend", []int{1, 0, 0}, false},
		"window":      {192 << 20, "zstd window=27\nfile three x\ntrailer\nend", []int{1, 1, 1}, false},
		"window fits": {256 << 20, "zstd window=27\nfile three x\ntrailer\nend", []int{0, 1, 1}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := append(slices.Clip(head), craftedImage(t, tt.image)...)
			report, err := Verify(bytes.NewReader(image), Kernel{Memory: tt.memory})
			must(t, err)
			want := ""
			for _, f := range report.Findings {
				want = max(want, f.Kernel)
				t.Log(f.String())
			}
			if fits := strings.HasSuffix(name, "fit") || strings.HasSuffix(name, "fits"); fits != report.Whole() {
				t.Errorf("found %s", found(report.Findings))
			}
			said, console := bootImage(t, image, fmt.Sprintf("%dM", tt.memory>>20))
			if said != want {
				t.Errorf("the kernel says %q, not %q", said, want)
			}
			for i, r := range boottest.Results(t, console) {
				if r.Exit != tt.exits[i] {
					t.Errorf("%s: exit %d", r.Command, r.Exit)
				}
			}
		})
	}
}

func craftedFile(t *testing.T, name string) []byte {
	return imagetest.File(t, "testdata/images/"+name+".txt")
}

// bootHead is a plain segment with an init that carries out the commands.
func bootHead(t *testing.T, commands ...string) []byte {
	dir := t.TempDir()
	boottest.AddInit(t, dir, commands...)
	var tree Tree
	addRoot(t, &tree, dir)
	return imageOf(t, &tree, Options{})
}

// bootImage gives what the kernel said about the image, and all of the console.
func bootImage(t *testing.T, image []byte, memory string) (said, console string) {
	path := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(path, image, 0o644))
	console = boottest.Run(t, boottest.Machine{Initrd: path, Memory: memory})
	for line := range strings.Lines(console) {
		if _, text, ok := strings.Cut(line, "Initramfs unpacking failed: "); ok {
			said = strings.TrimSpace(text)
		}
	}
	return said, console
}

func compareBoot(t *testing.T, image []byte) {
	report, err := Verify(bytes.NewReader(image), Kernel{})
	must(t, err)
	var want Finding
	for _, f := range report.Findings {
		if f.Severity == Stops {
			want = f
		}
	}
	said, console := bootImage(t, image, "")
	switch {
	case want.Rule == RuleDigits: // the lab's kernel is 6.12
		if said != "" || !strings.Contains(console, `"behind-1970"`) {
			t.Errorf("the kernel says %q", said)
		}
		return
	case want.Kernel == "" && want.Severity == Stops && said == "":
		t.Errorf("the kernel does not stop: %s", want.String())
	case want.Kernel != "" && said != want.Kernel, want.Severity != Stops && said != "":
		t.Errorf("the kernel says %q, not %q", said, want.Kernel)
	}
	if want.Rule == RuleDamaged {
		return // how much comes out before is up to the decompressor
	}
	results := boottest.Results(t, console)
	if len(results) != 1 || results[0].Exit != 0 {
		t.Fatalf("%+v", results)
	}
	compareLists(t, results[0].Output, simulate(image))
}

// simulate lists what the kernel is to unpack, as the init's verb list does.
func simulate(image []byte) map[string]string {
	r := NewReader(bytes.NewReader(image))
	v := &verifier{r: r, report: &Report{Counts: map[string]int{}}, fs: newRamfs(false)}
	r.watch = v
	v.fs.addBuiltIn()
	contents := map[*inode][]byte{}
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		target, err := r.target(h)
		if err != nil {
			break
		}
		node, why := v.fs.put(h, target)
		if why != "" {
			h.Summed = false
			if h.skipped() != "" && r.headerSplit() {
				break
			}
			continue
		}
		if node == nil || h.Size == 0 {
			continue
		}
		data, err := io.ReadAll(r)
		contents[node] = append(data, make([]byte, int(h.Size)-len(data))...)
		node.size = int64(h.Size)
		if err != nil {
			node.mtime = anyTime
			break
		}
	}
	all := map[string]string{}
	listNode(all, "", v.fs.root, contents)
	return all
}

const anyTime = 1<<32 - 2

func listNode(all map[string]string, path string, n *inode, contents map[*inode][]byte) {
	for name, kid := range n.kids {
		listNode(all, strings.TrimPrefix(path+"/"+name, "/"), kid, contents)
	}
	if path == "" {
		return
	}
	typ := map[uint32]string{typeFIFO: "p", typeChar: "c", typeDir: "d", typeBlock: "b", typeRegular: "f", typeSymlink: "l", typeSocket: "s"}[n.mode&typeMask]
	links, mtime := fmt.Sprint(n.names), fmt.Sprint(n.mtime)
	if typ == "d" {
		links = "-"
	}
	if typ == "d" || n.mtime == anyTime || path == "dev/console" {
		mtime = "-"
	}
	line := fmt.Sprintf("%s %o %d:%d %s %s", typ, n.mode&0o7777, n.uid, n.gid, links, mtime)
	switch typ {
	case "c", "b":
		line += fmt.Sprintf(" %d:%d", n.rdevMajor, n.rdevMinor)
	case "l":
		line += " " + shortText(n.target)
	case "f":
		data := contents[n][:n.size]
		line += fmt.Sprintf(" %d %.4x", n.size, sha256.Sum256(data))
	}
	all[shortText(path)] = line
}

func shortText(s string) string {
	if len(s) > 200 {
		s = fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
	}
	return fmt.Sprintf("%q", s)
}

func compareLists(t *testing.T, list string, want map[string]string) {
	got := map[string]string{}
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, `"`) {
			continue
		}
		quoted, rest, _ := strings.Cut(strings.TrimSpace(line), `" `)
		got[quoted+`"`] = rest
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if want[path] == "" {
			t.Errorf("the kernel has %s %s", path, got[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		g := strings.Fields(got[path])
		for i, w := range strings.Fields(want[path]) {
			if w == "-" && i < len(g) {
				g[i] = "-"
			}
		}
		if strings.Join(g, " ") != want[path] {
			t.Errorf("%s: the kernel has %q, not %q", path, strings.Join(g, " "), want[path])
		}
	}
}
