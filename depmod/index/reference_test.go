package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// names are the five files, without "modules." and ".bin".
var names = []string{"dep", "alias", "symbols", "builtin", "builtin.alias"}

// reference is what kmod's depmod made of a tree.
type reference struct {
	source fs.FS // the tree's module directory
	files  fs.FS // the files made
	dir    string
}

// runDepmod lets the lab's depmod work on root/lib/modules/version.
func runDepmod(t *testing.T, root, version string) reference {
	t.Helper()
	out := t.TempDir()
	tool := filepath.Join(kotest.Lab(t), "depmod-34")
	text, err := exec.Command(tool, "-b", root, "-m", "lib/modules", "-o", out, version).CombinedOutput()
	if err != nil {
		t.Fatalf("depmod: %v\n%s", err, text)
	}
	modules := filepath.Join("lib/modules", version)
	return reference{os.DirFS(filepath.Join(root, modules)), os.DirFS(filepath.Join(out, modules)), out}
}

func (r *reference) read(t *testing.T, fsys fs.FS, name string) string {
	t.Helper()
	b, err := fs.ReadFile(fsys, "modules."+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// builders makes the five indexes from the text files that depmod wrote beside
// them, and from the kernel build's lists of built-in modules.
func (r *reference) builders(t *testing.T) map[string]*Builder {
	t.Helper()
	b := map[string]*Builder{}
	for _, name := range names {
		b[name] = new(Builder)
	}
	priority := map[string]uint32{}
	for line := range strings.Lines(r.read(t, r.files, "dep")) {
		line = strings.TrimSuffix(line, "\n")
		file, _, _ := strings.Cut(line, ":")
		name := moduleName(file)
		priority[name] = uint32(len(priority))
		add(t, b["dep"], name, line, priority[name])
	}
	for _, name := range []string{"alias", "symbols"} {
		for line := range strings.Lines(r.read(t, r.files, name)) {
			words := strings.Fields(line)
			if words[0] != "alias" {
				continue
			}
			if key, err := Normalize(words[1]); err == nil {
				add(t, b[name], key, words[2], priority[words[2]])
			}
		}
	}
	for line := range strings.Lines(r.read(t, r.source, "builtin")) {
		add(t, b["builtin"], moduleName(strings.TrimSpace(line)), "", 0)
	}
	for info := range strings.SplitSeq(r.read(t, r.source, "builtin.modinfo"), "\x00") {
		left, alias, _ := strings.Cut(info, "=")
		module, field, _ := strings.Cut(left, ".")
		if key, err := Normalize(alias); err == nil && field == "alias" {
			add(t, b["builtin.alias"], key, module, 0)
		}
	}
	return b
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// check compares all five files with ours and reads them back.
func (r *reference) check(t *testing.T) {
	for name, b := range r.builders(t) {
		theirs := []byte(r.read(t, r.files, name+".bin"))
		if ours := write(t, b); !bytes.Equal(ours, theirs) {
			t.Errorf("modules.%s.bin: %d bytes of ours differ from kmod's %d", name, len(ours), len(theirs))
		}
		ix := open(t, theirs)
		pairs := all(ix)
		if len(pairs) != b.Len() || len(pairs) == 0 {
			t.Errorf("modules.%s.bin: %d values, want %d", name, len(pairs), b.Len())
		}
		for _, p := range pairs {
			if v := ix.Lookup(p.key); !has(v, p.value) {
				t.Errorf("modules.%s.bin: %s is there but look-up finds %v", name, p.key, v)
			}
			// A pattern matches itself, unless its brackets do not.
			if v := ix.Match(p.key); !has(v, p.value) && !strings.Contains(p.key, "[") {
				t.Errorf("modules.%s.bin: %s is there but match finds %v", name, p.key, v)
			}
		}
		if !bytes.Equal(rebuild(t, ix, PreOrder), theirs) {
			t.Errorf("modules.%s.bin: not the same when read and written", name)
		}
	}
}

func has(values []Value, v Value) bool {
	for _, w := range values {
		if w == v {
			return true
		}
	}
	return false
}

// Digests of the files that kmod 33 and earlier, which write children first,
// make of the lab's tree with .ko.xz modules.
var postOrderDigests = map[string]string{
	"dep": "b07b07f6f9ef", "alias": "4ffffe87a614", "symbols": "f55328c8eaa3", "builtin": "efc0aca5aa89", "builtin.alias": "ca0c0d8f8c9d",
}

func TestReferenceLab(t *testing.T) {
	version := kotest.LabVersion(t)
	r := runDepmod(t, kotest.LabTree(t, "plain"), version)
	r.check(t)
	if version != "6.12.107+deb13-riscv64" {
		t.Logf("no digests are known for %s", version)
		return
	}
	for name, b := range r.builders(t) {
		b.Layout = PostOrder
		for i := range b.entries {
			if name == "dep" {
				b.entries[i].value = strings.ReplaceAll(b.entries[i].value, ".ko", ".ko.xz")
			}
		}
		digest := sha256.Sum256(write(t, b))
		if got := hex.EncodeToString(digest[:6]); got != postOrderDigests[name] {
			t.Errorf("modules.%s.bin, children first: %s, want %s", name, got, postOrderDigests[name])
		}
	}
}

func TestReferenceRandomTrees(t *testing.T) {
	lab := kotest.Lab(t)
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			root := randomTree(t, rand.New(rand.NewPCG(seed, 7)))
			r := runDepmod(t, root, "1.0")
			r.check(t)
			r.checkModprobe(t, filepath.Join(lab, "modprobe-34"))
		})
	}
}

// randomTree writes modules with aliases and symbols that share much.
func randomTree(t *testing.T, random *rand.Rand) string {
	t.Helper()
	alias := func() string {
		var s strings.Builder
		s.WriteString("xyz"[:random.IntN(4)] + ":")
		for range random.IntN(6) {
			s.WriteString([]string{"a", "a", "b", "-", "*", "?", "[ab]", "[!a-b]", "c*", "v0"}[random.IntN(10)])
		}
		if random.IntN(30) == 0 {
			s.WriteString("]")
		}
		return s.String()
	}
	texts := map[string]string{}
	for i := range 60 {
		var text strings.Builder
		for range random.IntN(12) {
			fmt.Fprintf(&text, "modinfo alias=%s\n", alias())
		}
		for range random.IntN(5) {
			fmt.Fprintf(&text, "export %s_%d crc=1\n", strings.Repeat("f", random.IntN(5)), random.IntN(200))
		}
		fmt.Fprintf(&text, "need f_%d\n", 1000+i)
		texts[fmt.Sprintf("lib/modules/1.0/k/m-%d.ko", i)] = text.String()
	}
	var info strings.Builder
	for range 40 {
		fmt.Fprintf(&info, "b%d.alias=%s\x00b%d.license=GPL\x00", random.IntN(9), alias(), random.IntN(9))
	}
	texts["lib/modules/1.0/modules.builtin.modinfo"] = info.String()
	texts["lib/modules/1.0/modules.builtin"] = "k/b0.ko\nk/b-1.ko\nk/b0.ko\nk/b12.ko\n"
	texts["lib/modules/1.0/modules.order"] = "k/m-7.ko\nk/m-3.ko\n"
	return kotest.Dir(t, texts)
}

// checkModprobe asks modprobe for the modules of some aliases: modprobe looks
// at modules.alias.bin and, if nothing is found there, at
// modules.builtin.alias.bin.
func (r *reference) checkModprobe(t *testing.T, tool string) {
	aliases := open(t, []byte(r.read(t, r.files, "alias.bin")))
	builtin := open(t, []byte(r.read(t, r.files, "builtin.alias.bin")))
	asked, several := map[string]bool{}, 0
	for _, p := range append(all(aliases), all(builtin)...) {
		text := strings.NewReplacer("*", "ab", "?", "a", "[ab]", "b", "[!a_b]", "c", "[!a-b]", "c").Replace(p.key)
		if asked[text] || len(asked) == 80 {
			continue
		}
		asked[text] = true
		found := aliases.Match(text)
		if found == nil {
			found = builtin.Match(text)
		}
		out, _ := exec.Command(tool, "-d", r.dir, "-S", "1.0", "-C", os.DevNull, "-R", text).Output()
		if got, want := texts(found), strings.Join(strings.Fields(string(out)), " "); got != want {
			t.Errorf("%q: %s, modprobe finds %s", text, got, want)
		}
		if len(found) > 1 {
			several++
		}
	}
	if several < 20 {
		t.Errorf("only %d texts with several hits: the test tests little", several)
	}
}
