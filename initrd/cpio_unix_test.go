//go:build unix

package initrd

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gnuCpio skips the test where GNU cpio is not installed.
func gnuCpio(t *testing.T) {
	t.Helper()
	out, err := exec.Command("cpio", "--version").Output()
	if err != nil || !bytes.Contains(out, []byte("GNU cpio")) {
		t.Skip("no GNU cpio to compare with")
	}
}

// runCpio runs GNU cpio in dir.
func runCpio(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("cpio", append([]string{"--quiet"}, args...)...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("cpio %s: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// sampleDir makes a directory with one of each, all from time at.
func sampleDir(t *testing.T, at int64) string {
	t.Helper()
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		os.Chmod(dir, 0o755),
		os.MkdirAll(p("bin"), 0o755),
		os.MkdirAll(p("a/b/c"), 0o750),
		os.WriteFile(p("bin/busybox"), words(70_001), 0o755),
		os.WriteFile(p("a-b"), []byte("1"), 0o600),
		os.WriteFile(p("a/empty"), nil, 0o644),
		os.WriteFile(p("a/one"), []byte("12345"), 0o640),
		os.Link(p("a/one"), p("bin/two")),
		os.Link(p("a/one"), p("a/b/three")),
		os.WriteFile(p("bin/su"), []byte("su"), 0o755),
		os.Chmod(p("bin/su"), fs.ModeSetuid|fs.ModeSetgid|0o751),
		os.Symlink("bin/busybox", p("init")),
		os.Symlink("/nowhere", p("a/b/c/dangling")),
		syscall.Mkfifo(p("pipe"), 0o622),
	)
	// Down from the leaves: a change below changes a directory's time.
	must(t, exec.Command("find", dir, "-depth", "-exec", "touch", "-h", "-d", fmt.Sprint("@", at), "{}", "+").Run())
	return dir
}

// theirImage packs dir with GNU cpio, in the order of our tree.
func theirImage(t *testing.T, dir string, tree *Tree) []byte {
	t.Helper()
	names := strings.ReplaceAll(paths(tree), " ", "\n")
	return []byte(runCpio(t, dir, names, "-o", "-H", "newc", "--reproducible", "-R", "0:0"))
}

// Our image of a directory without hard links is byte for byte the one GNU
// cpio makes, but for three things: cpio numbers from 0, takes a directory's
// link count from a file system that counts as it likes, and fills up the end
// to 512 bytes.
func TestSameBytesAsGNUCpio(t *testing.T) {
	gnuCpio(t)
	const at = 1_700_000_001
	dir := sampleDir(t, at)
	must(t, os.Remove(filepath.Join(dir, "bin/two")), os.Remove(filepath.Join(dir, "a/b/three")))
	must(t, exec.Command("touch", "-d", fmt.Sprint("@", at), filepath.Join(dir, "bin"), filepath.Join(dir, "a/b")).Run())
	tree := new(Tree)
	addRoot(t, tree, dir)
	image := imageOf(t, tree, Options{ModTime: at})

	theirs := theirImage(t, dir, tree)
	if len(theirs) < len(image) {
		t.Fatalf("ours has %d bytes, theirs %d", len(image), len(theirs))
	}
	padding := theirs[len(image):]
	if len(padding) >= 512 || len(bytes.Trim(padding, "\x00")) != 0 {
		t.Errorf("cpio's archive goes on for %d bytes", len(padding))
	}
	theirs = theirs[:len(image)]
	var start int64
	for i, it := range items(t, image) {
		copy(theirs[start+magicLen:], fmt.Sprintf("%08X", i+1))
		if it.mode&typeMask == typeDir {
			copy(theirs[start+magicLen+4*fieldLen:], "00000002")
		}
		start += it.space()
	}
	if !bytes.Equal(image, theirs) {
		t.Errorf("ours   %.2000v\ntheirs %.2000v", items(t, image), items(t, theirs))
	}
}

// With hard links it is the same entries in another order: GNU cpio puts off
// names of a linked file until it has seen the last.
func TestSameEntriesAsGNUCpio(t *testing.T) {
	gnuCpio(t)
	const at = 1_700_000_001
	dir := sampleDir(t, at)
	tree := new(Tree)
	addRoot(t, tree, dir)
	sameEntries(t, items(t, imageOf(t, tree, Options{ModTime: at})), items(t, theirImage(t, dir, tree)))
}

// sameEntries compares our image with GNU cpio's, but for the order, the numbers
// of the files and the link counts of directories.
func sameEntries(t *testing.T, ours, list []item) {
	t.Helper()
	theirs := make(map[string]item)
	for _, it := range list {
		theirs[it.name] = it
	}
	numbers := make(map[uint32]uint32) // ours to theirs
	for _, it := range ours {
		want := theirs[it.name]
		if n, ok := numbers[it.ino]; ok && n != want.ino {
			t.Errorf("%s is file %d, theirs %d and %d", it.name, it.ino, want.ino, n)
		}
		numbers[it.ino] = want.ino
		want.ino = it.ino
		if it.mode&typeMask == typeDir {
			want.nlink = 2
		}
		if it != want {
			t.Errorf("ours %.300v, theirs %.300v", it, want)
		}
	}
	if len(ours) != len(theirs) {
		t.Errorf("%d entries, theirs %d", len(ours), len(theirs))
	}
}

// GNU cpio lists our image as it should.
func TestGNUCpioLists(t *testing.T) {
	gnuCpio(t)
	tree := sample(t)
	must(t, tree.Put(Entry{Path: "bin/su", Mode: fs.ModeSetuid | 0o755, UID: 12, GID: 34, Size: 2, Open: File("", 0, []byte("su")).Open}))
	must(t, tree.Put(Entry{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}))
	image := imageOf(t, tree, Options{ModTime: uint32(time.Date(2023, 11, 14, 0, 0, 0, 0, time.UTC).Unix())})
	want := `drwxr-xr-x 2 0 0 0 Nov 14 2023 .
drwxr-xr-x 2 0 0 0 Nov 14 2023 bin
-rwxr-xr-x 1 0 0 150000 Nov 14 2023 bin/busybox
lrwxrwxrwx 1 0 0 7 Nov 14 2023 bin/sh -> busybox
-rwsr-xr-x 1 12 34 2 Nov 14 2023 bin/su
drwxr-xr-x 2 0 0 0 Nov 14 2023 dev
crw------- 1 0 0 5, 1 Nov 14 2023 dev/console
crw-rw-rw- 1 0 0 1, 3 Nov 14 2023 dev/null
brw-rw---- 1 0 6 254, 16 Nov 14 2023 dev/vda
drwxr-xr-x 2 0 0 0 Nov 14 2023 etc
-rw-r----- 3 0 0 0 Nov 14 2023 etc/group
-rw-r----- 3 0 0 0 Nov 14 2023 etc/group-
-rw-r--r-- 1 0 0 8 Nov 14 2023 etc/motd
lrwxrwxrwx 1 0 0 6 Nov 14 2023 init -> bin/sh
drwxr-xr-x 2 0 0 0 Nov 14 2023 run
prw------- 1 0 0 0 Nov 14 2023 run/pipe
drwxrwxrwt 2 0 0 0 Nov 14 2023 tmp
drwxr-xr-x 2 0 0 0 Nov 14 2023 usr
drwxr-xr-x 2 0 0 0 Nov 14 2023 usr/share
-rw-r----- 3 0 0 10 Nov 14 2023 usr/share/group
`
	var got strings.Builder
	for line := range strings.Lines(runCpio(t, t.TempDir(), string(image), "-itvn", "-H", "newc")) {
		fmt.Fprintln(&got, strings.Join(strings.Fields(line), " "))
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}

// GNU cpio unpacks our image into the tree it was made from, and that tree
// makes the same image again.
func TestGNUCpioUnpacks(t *testing.T) {
	gnuCpio(t)
	const at = 1_600_000_001
	tree := new(Tree)
	addRoot(t, tree, sampleDir(t, at))
	image := imageOf(t, tree, Options{ModTime: at})
	out := t.TempDir()
	runCpio(t, out, string(image), "-idm", "-H", "newc", "--no-preserve-owner", "--no-absolute-filenames")
	again := new(Tree)
	addRoot(t, again, out)
	if back := imageOf(t, again, Options{ModTime: at}); !bytes.Equal(back, image) {
		t.Errorf("made from %v, unpacked to %v", items(t, image), items(t, back))
	}
	one, err := os.Stat(filepath.Join(out, "a/one"))
	must(t, err)
	two, err := os.Stat(filepath.Join(out, "bin/two"))
	must(t, err)
	if !os.SameFile(one, two) || one.ModTime().Unix() != at {
		t.Errorf("linked: %v, time %v", os.SameFile(one, two), one.ModTime())
	}
}

// Only root can make device nodes.
func TestDeviceNodesFromDisk(t *testing.T) {
	gnuCpio(t)
	dir := t.TempDir()
	if err := exec.Command("mknod", "-m", "640", filepath.Join(dir, "node"), "b", "259", "65793").Run(); err != nil {
		t.Skip("no right to make device nodes")
	}
	tree := new(Tree)
	addRoot(t, tree, dir)
	line := runCpio(t, dir, string(imageOf(t, tree, Options{})), "-itv", "-H", "newc", "node")
	if !strings.HasPrefix(line, "brw-r-----") || !strings.Contains(line, "259, 65793") {
		t.Errorf("got %s", line)
	}
}
