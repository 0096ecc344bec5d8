//go:build unix

package initrd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A foreignTool unpacks a plain archive on its standard input into the directory it
// is started in, with modes, times and (as root) owners.
type foreignTool struct {
	name, list, unpack string

	// timeless are the types of files whose times it does not set, or not for good:
	// what is put into a directory later changes the directory's.
	timeless string
}

// foreignTools are those that are installed.
func foreignTools(t *testing.T) []foreignTool {
	t.Helper()
	all := []foreignTool{
		{"GNU cpio", "cpio -it --quiet", "cpio -idmu --quiet", "Ld"},
		{"bsdcpio", "bsdcpio -it --quiet", "bsdcpio -idmu --quiet", ""},
		{"busybox cpio", "busybox cpio -it", "busybox cpio -idmu", "Ld"},
	}
	var there []foreignTool
	for _, tool := range all {
		if _, err := exec.LookPath(strings.Fields(tool.list)[0]); err == nil {
			there = append(there, tool)
		}
	}
	if len(there) < len(all) {
		t.Logf("only %d of %d tools are installed to compare with", len(there), len(all))
	}
	if len(there) == 0 {
		t.Skip("no cpio to compare with")
	}
	return there
}

// runIn runs a command in dir with its input.
func runIn(t testing.TB, dir string, in []byte, command string) []byte {
	t.Helper()
	args := strings.Fields(command)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, &stderr)
	}
	return out
}

// everything makes a directory with one of each, as root with device nodes and
// owners too, all with times of their own.
func everything(t *testing.T) string {
	t.Helper()
	dir := sampleDir(t, 1_700_000_001)
	p := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(p("tmp"), 0o755), os.Chmod(p("tmp"), fs.ModeSticky|0o777), os.Mkdir(p("closed"), 0o755),
		os.WriteFile(p("closed/in"), []byte("x"), 0o400), os.WriteFile(p("name with blank, ü and \\"), []byte("y"), 0o644))
	if os.Geteuid() == 0 {
		must(t, syscall.Mknod(p("console"), syscall.S_IFCHR|0o600, 5<<8|1), syscall.Mknod(p("disk"), syscall.S_IFBLK|0o660, 253<<8|17),
			os.Lchown(p("bin/su"), 12, 34), os.Chmod(p("bin/su"), fs.ModeSetuid|0o4755), os.Lchown(p("a"), 1, 2), os.Lchown(p("init"), 3, 4),
			os.Lchown(p("console"), 0, 5))
	}
	must(t, os.Chmod(p("closed"), 0o555))
	t.Cleanup(func() { opened(dir) })
	at := 1_600_000_000
	must(t, exec.Command("find", dir, "-depth", "-exec", "touch", "-h", "-d", fmt.Sprint("@", at), "{}", "+").Run())
	must(t, exec.Command("touch", "-d", fmt.Sprint("@", at+1), p("a"), p("tmp"), p("bin/su")).Run())
	return dir
}

// timeless takes the times of files of some types, by the first letter of their mode,
// out of a listing.
func timeless(types string, all map[string]string) map[string]string {
	some := maps.Clone(all)
	for p, text := range some {
		if strings.Contains(types, text[:1]) {
			fields := strings.Fields(text)
			fields[2] = "-"
			some[p] = strings.Join(fields, " ")
		}
	}
	return some
}

// ours unpacks an image with all that it has.
func ours(t testing.TB, image []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { opened(dir) })
	root := os.Geteuid() == 0
	_, err := extract(t, string(image), dir, ExtractOptions{Owners: root, Devices: root})
	must(t, err)
	return below(t, dir)
}

// theirs unpacks plain archives, one over the other.
func theirs(t *testing.T, tool foreignTool, archives ...[]byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { opened(dir) })
	for _, archive := range archives {
		runIn(t, dir, archive, tool.unpack)
	}
	return below(t, dir)
}

// below lists what is in a directory. What becomes of the directory itself they do
// not agree on; GNU cpio and we leave it as it is.
func below(t testing.TB, dir string) map[string]string {
	all := listed(t, dir, "")
	delete(all, ".")
	return all
}

// compressors are the programs that image builders use, with the options that the
// kernel needs, and what undoes each.
var compressors = []struct{ pack, unpack string }{
	{"cat", "cat"},
	{"gzip -9n", "gzip -dc"},
	{"zstd -q -19 -T0 -c", "zstd -qdc"},
	{"xz --check=crc32 --lzma2=dict=1MiB -c", "xz -dc"},
	{"lz4 -9 -l -c", "lz4 -dc"},
	{"lzma -c", "xz -dc"},
	{"bzip2 -9", "bzip2 -dc"},
}

// Images that others make unpack to what cpio -idm makes of them: each maker's, in
// each compression. Directories come behind what is in them, so that cpio sets their
// times for good.
func TestExtractForeignImages(t *testing.T) {
	gnuCpio(t)
	from := everything(t)
	names := runIn(t, from, nil, "find . -depth")
	for _, maker := range []string{"cpio -o -H newc --quiet", "cpio -o -H crc --quiet", "bsdcpio -o -H newc --quiet", "busybox cpio -o -H newc"} {
		t.Run(maker, func(t *testing.T) {
			if _, err := exec.LookPath(strings.Fields(maker)[0]); err != nil {
				t.Skip("not installed")
			}
			plain := runIn(t, from, names, maker)
			want := theirs(t, foreignTool{unpack: "cpio -idm --quiet"}, plain)
			for _, c := range compressors {
				image := runIn(t, from, plain, c.pack)
				sameListing(t, timeless("L", ours(t, image)), timeless("L", want))
			}
		})
	}
}

// Two segments, the second in each compression: what both have is the second's.
func TestExtractSegments(t *testing.T) {
	gnuCpio(t)
	early, main := t.TempDir(), t.TempDir()
	for dir, files := range map[string]string{early: "kernel/x86/microcode/GenuineIntel.bin both", main: "bin/sh both"} {
		for _, name := range strings.Fields(files) {
			p := filepath.Join(dir, name)
			must(t, os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(files), 0o644))
		}
		must(t, os.Chmod(dir, 0o755))
	}
	first := runIn(t, early, runIn(t, early, nil, "find . -print"), "cpio -o -H newc --quiet")
	second := runIn(t, main, runIn(t, main, nil, "find . -print"), "cpio -o -H newc --quiet")
	want := theirs(t, foreignTool{unpack: "cpio -idmu --quiet"}, first, second)
	for _, c := range compressors {
		image := append(bytes.Clone(first), runIn(t, main, second, c.pack)...)
		sameListing(t, timeless("d", ours(t, image)), timeless("d", want))
	}
}

// Our images list and unpack to the same tree with every tool.
func TestForeignToolsUnpack(t *testing.T) {
	tree := new(Tree)
	addRoot(t, tree, everything(t))
	if os.Geteuid() == 0 { // with owners, and numbers that take all bits there are
		must(t, tree.Put(Entry{Path: "su", Mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, UID: 12, GID: 34}),
			tree.Put(Entry{Path: "far", Mode: fs.ModeDevice | 0o600, Major: 259, Minor: 300, GID: 6}))
	}
	const at = 1_500_000_000
	plain := imageOf(t, tree, Options{ModTime: at})
	our := ours(t, plain)
	for _, c := range everyCompression {
		image := imageOf(t, tree, Options{ModTime: at, Compression: compression(t, c)})
		sameListing(t, ours(t, image), our)
		for _, z := range compressors { // what undoes it, by the program's name
			if method, _, _ := strings.Cut(c, ":"); strings.HasPrefix(z.pack, method) {
				if method == "lz4" {
					image = lz4Blocks(image)
				}
				if got := runIn(t, t.TempDir(), image, z.unpack); !bytes.Equal(got, plain) {
					t.Errorf("%s: %s gives %d bytes, not the %d of the archive", c, z.unpack, len(got), len(plain))
				}
			}
		}
	}
	for _, tool := range foreignTools(t) {
		t.Run(tool.name, func(t *testing.T) {
			names := string(runIn(t, t.TempDir(), plain, tool.list))
			want := paths(tree)
			if tool.name == "busybox cpio" { // it does not list names of linked files that have no data
				want = strings.Replace(strings.Replace(want, "a/b/three ", "", 1), "a/one ", "", 1)
			}
			if got := strings.ReplaceAll(strings.TrimSuffix(names, "\n"), "\n", " "); got != want {
				t.Errorf("lists %s\nwant  %s", got, want)
			}
			sameListing(t, timeless(tool.timeless, theirs(t, tool, plain)), timeless(tool.timeless, our))
		})
	}
}

// An image of three segments, taken apart, unpacks with every tool to the same tree
// as with us, also with file data on boundaries.
func TestForeignToolsSegments(t *testing.T) {
	early := treeOf(t, File("kernel/early.bin", 0o644, words(5000)))
	tree := treeOf(t, File("init", 0o755, words(70_000)), symlink("lib", "usr/lib"), File("usr/lib/a.ko.xz", 0o644, words(9000)),
		File("usr/lib/b.ko.zst", 0o600, words(3000)), File("usr/lib/text", 0o644, words(100)))
	for _, align := range []int{0, 512} {
		o := Options{Compression: compression(t, "gzip"), Early: early, Align: align, ModTime: 1_500_000_000}
		var b bytes.Buffer
		sum, err := Write(t.Context(), &b, tree, o)
		must(t, err)
		if len(sum.Segments) != 3 {
			t.Fatalf("segments %+v", sum.Segments)
		}
		var archives [][]byte
		for _, s := range sum.Segments {
			part := b.Bytes()[s.Offset : s.Offset+s.Size]
			if s.Method == Gzip {
				part = runIn(t, t.TempDir(), part, "gzip -dc")
			}
			archives = append(archives, part)
		}
		our := ours(t, b.Bytes())
		if len(our) != 9 {
			t.Errorf("unpacks to %d files: %v", len(our), our)
		}
		for _, tool := range foreignTools(t) {
			t.Run(fmt.Sprint(tool.name, ", align ", align), func(t *testing.T) {
				sameListing(t, timeless("Ld", theirs(t, tool, archives...)), timeless("Ld", our))
			})
		}
	}
}

// lz4Blocks gives the blocks of a stream in lz4's legacy format without the zero bytes
// that end it: the kernel needs them, lz4 does not know them.
func lz4Blocks(image []byte) []byte {
	at := 4
	for at+4 <= len(image) && binary.LittleEndian.Uint32(image[at:]) > 0 {
		at += 4 + int(binary.LittleEndian.Uint32(image[at:]))
	}
	return image[:at]
}
