//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
)

// outcome is all that a run of depmod leaves behind.
type outcome struct {
	Status         int
	Stdout, Stderr string
	Files          map[string]string
}

var (
	// where kmod shows the number of an open directory
	fdNumber = regexp.MustCompile(`fstatat\([^,]*, `)
	// kmod gives the reason that the last failed system call, whatever it was, left behind
	staleErrno = regexp.MustCompile(`(Invalid symbol version [^:]*): .*`)
)

// normal makes two runs comparable: the place of the tree, numbers of open
// files, and the order of lines that follows the file system's.
func normal(text, root string) string {
	text = strings.ReplaceAll(text, root, "ROOT")
	text = fdNumber.ReplaceAllString(text, "fstatat(FD, ")
	text = staleErrno.ReplaceAllString(text, "$1")
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// kmodDepmod runs the lab's depmod. endless: it eats memory or writes messages
// without end, or fails an assertion, as it does when a module leads into a circle
// that it is no part of.
func kmodDepmod(t testing.TB, root string, args []string) (o outcome, endless bool) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `ulimit -v 1000000; exec "$0" "$@"`, filepath.Join(kotest.Lab(t), "depmod-34"))
	cmd.Args = append(cmd.Args, args...)
	var stdout, stderr capped
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if stderr.Len() >= maxOutput || strings.Contains(stderr.String(), "No memory to report cycles") ||
		strings.Contains(stderr.String(), "Assertion") {
		return outcome{Files: filesBelow(t, root)}, true
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), strings.ReplaceAll(stdout.String(), root, "ROOT"), normal(stderr.String(), root), filesBelow(t, root)}, false
}

// capped holds a program's output up to a limit, where its pipe closes.
type capped struct{ bytes.Buffer }

const maxOutput = 1 << 20

func (c *capped) Write(b []byte) (int, error) {
	if c.Len() >= maxOutput {
		return 0, io.ErrShortWrite
	}
	return c.Buffer.Write(b)
}

// ReadFrom is hidden from io.Copy, which would go round Write.
func (c *capped) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// ourDepmod runs the drop-in in this process. inOrder is what it says, unsorted.
func ourDepmod(t testing.TB, root string, args []string) (o outcome, inOrder string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := depmodMain("depmod", args, &stdout, &stderr)
	o = outcome{status, strings.ReplaceAll(stdout.String(), root, "ROOT"), normal(stderr.String(), root), filesBelow(t, root)}
	return o, strings.ReplaceAll(stderr.String(), root, "ROOT")
}

// filesBelow reads every modules.* file below root.
func filesBelow(t testing.TB, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), "modules.") {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, root)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A generated tree and the call to be made in it; ROOT stands for its place.
type generated struct {
	files map[string]string // module texts by path, see kotest.File
	raw   map[string]string // other files, and modules that are none
	links map[string]string
	args  []string
}

// write puts the tree below root.
func (g *generated) write(t testing.TB, root string) {
	t.Helper()
	put := func(name string, content []byte) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range g.files {
		b, err := kotest.File(name, text)
		if err != nil {
			t.Fatal(err)
		}
		put(name, b)
	}
	for name, text := range g.raw {
		put(name, []byte(strings.ReplaceAll(text, "ROOT", root)))
	}
	for name, target := range g.links {
		if err := os.Symlink(target, filepath.Join(root, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
}

// generator makes random trees that hold what real ones and mistakes do.
type generator struct{ *rand.Rand }

func (g generator) pick(words ...string) string { return words[g.IntN(len(words))] }
func (g generator) chance(percent int) bool     { return g.IntN(100) < percent }

const genDir = "lib/modules/6.1.0-x/"

func (g generator) tree() *generated {
	tree := &generated{files: map[string]string{}, raw: map[string]string{}, links: map[string]string{}}
	tops := []string{"kernel", "kernel/drivers", "updates", "extra", "weak-updates", ".hidden", "kernel/a/b"}
	var paths []string
	for i := range g.IntN(14) {
		name := g.pick("mod", "snd-hda", "x_y", "z") + fmt.Sprint(i) + g.pick("", "", "", ".b")
		path := g.pick(tops...) + "/" + name + ".ko" + g.pick("", "", ".xz", ".zst")
		paths = append(paths, path)
		tree.files[genDir+path] = g.module()
	}
	g.duplicates(tree, paths)
	g.lists(tree, paths)
	g.mistakes(tree)
	g.call(tree, paths)
	return tree
}

// module writes a random module; symbols s0 … s9 tie modules together, a
// higher one needs lower ones so that circles are rare.
func (g generator) module() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("elf %s", g.pick("64 le riscv", "64 le x86_64", "32 le arm", "32 be mips", "64 be ppc64", "64 be sparcv9"))
	for range g.IntN(4) {
		line("modinfo alias=%s", g.pick("pci:v0000-d*", "of:N*T*Cacme,x-y", "usb:v[0-9a-f]p-*", "fs-ext4", "fs_ext4", "net-pf-10-proto-[1-3]-type",
			"char-major-10-2", "block-major-7-*", "char-major-4-5-x", "devname:snd/seq", "devname:loop", "odd[bracket", "odd]bracket", "a*b?c", ""))
	}
	if g.chance(30) {
		line("modinfo softdep=%s", g.pick("pre: a-b post: c", "pre: x", ""))
	}
	if g.chance(20) {
		line("modinfo weakdep=%s", g.pick("w", "a-b c"))
	}
	level := g.IntN(10)
	for range g.IntN(3) {
		line("export s%d%s", level, g.pick("", " crc=0x11", " crc=0x22 kcrctab", " crc=0x11 gpl"))
		level = min(level+1, 9)
	}
	for range g.IntN(5) {
		symbol := fmt.Sprintf("s%d", g.IntN(level+1))
		if g.chance(20) {
			symbol = g.pick("printk", "missing", ".s1", "kmalloc")
		}
		line("%s %s%s", g.pick("need", "need", "weak"), symbol, g.pick("", " crc=0x11", " crc=0x33"))
	}
	if g.chance(50) {
		line("version module_layout crc=0x5")
	}
	if g.chance(5) {
		line("extversions")
	}
	if g.chance(3) {
		line("stripped")
	}
	// an export and a need of one name in one module is a circle of one
	return dropOwnNeeds(b.String())
}

func dropOwnNeeds(text string) string {
	var exported, kept []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); words[0] == "export" {
			if slices.Contains(exported, words[1]) {
				continue
			}
			exported = append(exported, words[1])
		}
		kept = append(kept, line)
	}
	seen := make(map[string]bool)
	kept = slices.DeleteFunc(kept, func(line string) bool {
		words := strings.Fields(line)
		if words[0] != "need" && words[0] != "weak" {
			return false
		}
		again := seen[words[1]]
		seen[words[1]] = true
		return again || slices.Contains(exported, strings.TrimPrefix(words[1], "."))
	})
	return strings.Join(kept, "")
}

// duplicates lays second files of some modules into another top directory and
// writes a configuration that ranks these, so that the order in which the file
// system lists them decides nothing.
func (g generator) duplicates(tree *generated, paths []string) {
	search := []string{"updates", "extra", "weak-updates", "built-in"}
	g.Shuffle(len(search), func(i, j int) { search[i], search[j] = search[j], search[i] })
	config := ""
	if g.chance(50) {
		search = search[:1+g.IntN(4)]
		config = "search " + strings.Join(search, " ") + "\n"
	} else {
		search = []string{"updates"}
	}
	listed := slices.DeleteFunc(slices.Clone(search), func(s string) bool { return s == "built-in" })
	for _, path := range paths {
		if len(listed) == 0 || !g.chance(25) {
			continue
		}
		top := g.pick(listed...)
		if stem, _, _ := strings.Cut(filepath.Base(path), ".ko"); !strings.HasPrefix(path, top+"/") {
			tree.files[genDir+top+"/"+stem+".ko"] = g.module()
			if g.chance(20) {
				name, _, _ := strings.Cut(stem, ".")
				config += fmt.Sprintf("override %s %s %s\n", name, g.pick("*", "6\\.1", "^5"), filepath.Dir(path))
			}
		}
	}
	if g.chance(30) {
		config += g.pick("exclude extra\n", "exclude mod1.ko\n", "# a comment\n\n", "serach updates\n", "override x\n", "include foo\nmake_map_files no\n")
	}
	if config != "" {
		tree.raw["depmod.d/10-x.conf"] = config
		tree.raw["depmod.d/ignored.txt"] = "search extra\n"
	}
}

func (g generator) lists(tree *generated, paths []string) {
	if g.chance(70) {
		var lines []string
		for _, i := range g.Perm(len(paths)) {
			if g.chance(70) {
				path, _, _ := strings.Cut(paths[i], ".ko")
				lines = append(lines, path+".ko")
			}
		}
		lines = append(lines, g.pick("kernel/none.ko", "#123", "", "kernel/mod0.ko"))
		tree.raw[genDir+"modules.order"] = strings.Join(lines, "\n") + g.pick("\n", "\n", "\n", "")
	}
	if g.chance(70) {
		tree.raw[genDir+"modules.builtin"] = g.pick("kernel/fs/ext4-x.ko\nkernel/b.ko\n", "", "kernel/a.ko\n\n9.ko\nkernel/a.ko", "x\n")
	}
	if g.chance(70) {
		tree.raw[genDir+"modules.builtin.modinfo"] = g.pick("a.alias=x-y\x00b.alias=x_y\x00a.license=GPL\x00", "", "a.alias=q[\x00b.alias=ok\x00cut.alias=z", "noise\x00.alias=x\x00")
	}
}

func (g generator) mistakes(tree *generated) {
	if g.chance(15) {
		tree.raw[genDir+"kernel/text.ko"] = "<html>"
	}
	if g.chance(10) {
		tree.raw[genDir+"kernel/empty.ko"] = ""
	}
	if g.chance(10) {
		whole, err := kotest.Build("export s1\nneed s0")
		if err != nil {
			panic(err) // the text is a constant
		}
		tree.raw[genDir+"kernel/half.ko"] = string(whole[:len(whole)/2])
	}
	tree.raw[genDir+"kernel/keep"] = "the directory"
	if g.chance(15) {
		tree.links[genDir+"kernel/gone.ko"] = "nowhere.ko"
	}
	if g.chance(15) {
		tree.raw["elsewhere/far.ko"] = "<html>"
		tree.links[genDir+"linked"] = "../../../elsewhere"
	}
}

func (g generator) call(tree *generated, paths []string) {
	args := []string{"-b", "ROOT", "-m", "lib/modules"}
	if tree.raw["depmod.d/10-x.conf"] != "" {
		args = append(args, "-C", "ROOT/depmod.d")
	} else {
		args = append(args, "-C", "/dev/null")
	}
	tree.raw["Module.symvers"] = "0x00000011\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0x5\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x1\ts3\tkernel/x\tEXPORT_SYMBOL\t\nzz\tbad\tvmlinux\tx\n"
	tree.raw["System.map"] = "ffffffff80000000 T _text\nffffffff80000001 r __ksymtab_printk\nffffffff80000002 r __ksymtab_kmalloc\nno\n"
	for _, o := range []struct {
		text    string
		percent int
	}{{"-n", 15}, {"-v", 15}, {"-w", 15}, {"-a", 20}, {"-o ROOT/out", 15}, {"-e", 40}, {"-E ROOT/Module.symvers", 30},
		{"-F ROOT/System.map", 30}, {"-P s", 8}, {"-ae", 10}} {
		if g.chance(o.percent) {
			args = append(args, strings.Fields(o.text)...)
		}
	}
	args = append(args, "6.1.0-x")
	if len(paths) > 0 && g.chance(10) {
		args = append(args, "ROOT/"+genDir+g.pick(paths...))
	}
	tree.args = args
}

// TestGeneratedTrees compares the drop-in with kmod 34.2 on trees that nobody
// thought of. A difference names its seed; KSTAGE_SEED=n runs that one alone.
func TestGeneratedTrees(t *testing.T) {
	kotest.Lab(t)
	from, count := uint64(1), uint64(300)
	if s := os.Getenv("KSTAGE_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &from); err != nil {
			t.Fatal(err)
		}
		count = 1
	}
	for seed := from; seed < from+count; seed++ {
		tree := generator{rand.New(rand.NewPCG(seed, 0))}.tree()
		root := filepath.Join(t.TempDir(), "root")
		args := slices.Clone(tree.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "ROOT", root)
		}
		tree.write(t, root)
		want, endless := kmodDepmod(t, root, args)
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		tree.write(t, root)
		got, _ := ourDepmod(t, root, args)
		if endless {
			if got.Status != 1 || !strings.Contains(got.Stderr, "Cycle detected: ") || !cmp.Equal(want.Files, got.Files) {
				t.Errorf("KSTAGE_SEED=%d: a circle was not found: %+v", seed, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("KSTAGE_SEED=%d: depmod %s\nkmod -, kstage +:\n%s", seed, strings.Join(tree.args, " "), diff)
		}
	}
}
