//go:build linux

package initrd

import (
	"bytes"
	"crypto/sha256"
	"errors"
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

func TestExplore(t *testing.T) {
	files := strings.Fields(os.Getenv("X_FILES"))
	if len(files) == 0 {
		t.Skip()
	}
	head := bootHead(t, "list")
	for _, f := range files {
		t.Run(f, func(t *testing.T) {
			data := imagetest.File(t, "testdata/images/"+f+".txt")
			compareBoot(t, append(bytes.Clone(head), data...))
		})
	}
}

// bootHead is a plain segment with an init that carries out the commands.
func bootHead(t *testing.T, commands ...string) []byte {
	dir := t.TempDir()
	boottest.AddInit(t, dir, commands...)
	var tree Tree
	addRoot(t, &tree, dir)
	return imageOf(t, &tree, Options{})
}

func compareBoot(t *testing.T, image []byte) {
	report, err := Verify(bytes.NewReader(image), Kernel{})
	must(t, err)
	path := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(path, image, 0o644))
	console := boottest.Run(t, boottest.Machine{Initrd: path, Memory: os.Getenv("X_MEM")})
	said := ""
	for line := range strings.Lines(console) {
		if _, text, ok := strings.Cut(line, "Initramfs unpacking failed: "); ok {
			said = strings.TrimSpace(text)
		}
	}
	want := ""
	for _, f := range report.Findings {
		if f.Kernel != "" {
			want = f.Kernel
		}
		t.Log(f.String())
	}
	if said != want {
		t.Errorf("the kernel says %q, not %q", said, want)
	}
	got := ""
	for _, r := range boottest.Results(t, console) {
		if r.Command == "list" {
			got = r.Output
		}
	}
	compareLists(t, got, simulate(image))
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

var _ = errors.Is
