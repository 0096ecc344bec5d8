//go:build unix

package initrd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// listed describes all files in a directory, by path: everything but the numbers of
// inodes, instead of which files with several names have the first of them. What
// lies in the directory skip is left out.
func listed(t testing.TB, dir, skip string) map[string]string {
	t.Helper()
	all, first := make(map[string]string), make(map[uint64]string)
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == skip {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(dir, p)
		must(t, err)
		info, err := os.Lstat(p)
		must(t, err)
		st := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d %d", info.Mode(), st.Uid, st.Gid, info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			must(t, err)
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			text += fmt.Sprintf(" %d %.8x %d=%s", len(b), sha256.Sum256(b), st.Nlink, first[st.Ino])
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			must(t, err)
			text += " -> " + target
		case info.Mode()&fs.ModeDevice != 0:
			text += fmt.Sprintf(" rdev %x", st.Rdev)
		}
		all[rel] = text
		return nil
	}))
	return all
}

func sameListing(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if got[p] != want[p] {
			t.Errorf("%s: is     %q", p, got[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got[p] != want[p] {
			t.Errorf("%s: wanted %q", p, want[p])
		}
	}
}

// walled is a directory to unpack into, with things all around it that links could
// lead to.
func walled(t testing.TB) (outside, dir string) {
	t.Helper()
	outside = t.TempDir()
	dir = filepath.Join(outside, "in", "dir")
	p := func(name string) string { return filepath.Join(outside, name) }
	must(t,
		os.MkdirAll(dir, 0o755),
		os.WriteFile(p("secret"), []byte("secret"), 0o600),
		os.WriteFile(p("in/secret"), []byte("secret"), 0o600),
		os.Mkdir(p("etc"), 0o755),
		os.Mkdir(p("in/etc"), 0o755),
		os.WriteFile(p("etc/passwd"), []byte("root"), 0o644),
	)
	return outside, dir
}

// Whatever an image says, nothing changes outside of the directory. The wanted
// files are what the kernel would make, the directory being its root; entries that
// lead nowhere are left out.
func TestExtractHostile(t *testing.T) {
	const d, f, l = 0o40755, 0o100644, 0o120777
	nul := func(mode uint32, name, data string) string {
		return raw("070701", [13]uint32{1: mode, 4: 1, 6: uint32(len(data)), 11: uint32(len(name)) + 1}, name+"\x00", data)
	}
	for name, tt := range map[string]struct {
		image string
		want  []string
	}{
		"dot-dot":                  {entry(f, "../secret", "1") + entry(f, "../../secret", "2"), []string{"secret", "2"}},
		"dot-dot inside":           {entry(f, "a/../../../secret", "1"), []string{"secret", "1"}},
		"a directory dot-dot":      {entry(0o40000, "..", "") + entry(f, "../etc/passwd", "1"), []string{"etc/passwd", "1"}},
		"absolute":                 {entry(f, "/etc/passwd", "1"), []string{"etc/passwd", "1"}},
		"link out, relative":       {entry(l, "x", "../..") + entry(f, "x/secret", "1"), []string{"secret", "1"}},
		"link out, absolute":       {entry(l, "x", "/etc") + entry(f, "x/passwd", "1"), []string{"etc/passwd", "1"}},
		"link out, with parts":     {entry(d, "a", "") + entry(l, "a/x", "../../../etc") + entry(f, "a/x/passwd", "1"), []string{"etc/passwd", "1"}},
		"link to a link":           {entry(l, "x", "y") + entry(l, "y", "../..") + entry(f, "x/secret", "1"), []string{"secret", "1"}},
		"link to the root":         {entry(l, "x", "/") + entry(f, "x/x/x/secret", "1"), []string{"secret", "1"}},
		"file over a link":         {entry(l, "x", "../../secret") + entry(f, "x", "1"), []string{"x", "1"}},
		"directory over a link":    {entry(l, "x", "../../etc") + entry(0o40000, "x", "") + entry(f, "x/passwd", "1"), []string{"x/passwd", "1"}},
		"link over a directory":    {entry(d, "x", "") + entry(l, "x", "../../etc") + entry(f, "x/passwd", "1"), []string{"etc/passwd", "1"}},
		"hard link to outside":     {linkedEntry(5, 2, f, "../secret", "") + linkedEntry(5, 2, f, "x", "1"), []string{"secret", "1", "x", "1"}},
		"hard link through a link": {entry(l, "x", "../..") + linkedEntry(5, 2, f, "x/secret", "") + linkedEntry(5, 2, f, "y", "1"), []string{"secret", "1", "y", "1"}},
		"hard link of a link":      {linkedEntry(5, 2, l, "x", "../../secret") + linkedEntry(5, 2, l, "y", "../../secret") + entry(f, "y", "1"), []string{"y", "1"}},
		"zero byte in a name":      {nul(f, "a\x00/../../secret", "1"), []string{"a", "1"}},
		"zero byte in a target":    {entry(l, "x", "..\x00/y") + entry(f, "x/secret", "1"), []string{"secret", "1"}},
		"one path, many ways":      {entry(d, "a", "") + entry(f, "./a//b", "1") + entry(f, "/a/./b/", "2") + entry(f, "a/../a/b", "3"), []string{"a/b", "3"}},
		"loop":                     {entry(l, "a", "b") + entry(l, "b", "a") + entry(f, "a/x", "1") + entry(f, "z", "1"), []string{"z", "1"}},
		"bomb":                     {bomb(), []string{}},
		"through a file":           {entry(f, "a", "1") + entry(f, "a/b", "2"), []string{"a", "1"}},
		"name of nothing":          {entry(f, "", "1") + entry(f, "/", "1") + entry(f, "a/.", "1") + entry(f, "..", "1"), []string{}},
		"a name kept for the end":  {entry(d, "a", "") + entry(f, "a/"+trailer, "1"), []string{"a/" + trailer, "1"}},
		"socket, unknown type":     {entry(0o140777, "s", "") + entry(0o150777, "u", "") + entry(0o777, "n", ""), []string{}},
		"backslashes and a drive":  {entry(f, `..\secret`, "1") + entry(f, `C:\x`, "2"), []string{`..\secret`, "1", `C:\x`, "2"}},
		"closed directory":         {entry(0o40555, "a", "") + entry(f, "a/b", "1") + entry(0o40000, "c", "") + entry(f, "c/d", "2"), nil},
		"setuid and setgid":        {entry(0o106755, "su", "1"), []string{"su", "1"}},
		"devices, not asked for":   {entry(0o20666, "null", "") + entry(f, "null/x", "1"), []string{}},
		"replaced device":          {entry(0o20666, "null", "") + entry(f, "null", "1"), []string{"null", "1"}},
		"deep":                     {entry(f, strings.Repeat("a/", 2046)+"a", "1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			outside, dir := walled(t)
			before := listed(t, outside, dir)
			if _, err := extract(t, tt.image+end, dir, ExtractOptions{}); err != nil {
				t.Error(err)
			}
			sameListing(t, listed(t, outside, dir), before)
			if tt.want != nil {
				wantContents(t, dir, tt.want...)
			}
			opened(dir)
		})
	}
}

// opened makes directories that were closed to their owner removable.
func opened(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
}

// bomb is links that lead through each other: to look up the last one takes 2^30
// steps for who does not count.
func bomb() string {
	var s strings.Builder
	s.WriteString(entry(0o40755, "l0", ""))
	for i := range 30 {
		s.WriteString(entry(0o120777, fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d/../l%d", i, i)))
	}
	s.WriteString(entry(0o100644, "l30/x", "1"))
	return s.String()
}

// A link in the directory is never followed, whether it leads out or not.
func TestExtractOverLinks(t *testing.T) {
	image := entry(0o40755, "a", "") + entry(0o100644, "a/b", "new") + entry(0o100644, "c", "new") + end
	for name, prepare := range map[string]func(dir string) error{
		"directory link out":    func(dir string) error { return os.Symlink("../etc", filepath.Join(dir, "a")) },
		"directory link within": func(dir string) error { return os.Symlink(".", filepath.Join(dir, "a")) },
		"file link out":         func(dir string) error { return os.Symlink("../secret", filepath.Join(dir, "c")) },
		"dangling link":         func(dir string) error { return os.Symlink("../new", filepath.Join(dir, "c")) },
		"hard link of outside":  func(dir string) error { return os.Link(filepath.Join(dir, "../secret"), filepath.Join(dir, "c")) },
		"pipe":                  func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "c"), 0o600) },
	} {
		outside, dir := walled(t)
		must(t, prepare(dir))
		before := listed(t, outside, "")
		if _, err := extract(t, image, dir, ExtractOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
		sameListing(t, listed(t, outside, ""), before)

		before = listed(t, outside, dir)
		_, err := extract(t, image, dir, ExtractOptions{Overwrite: true})
		must(t, err)
		wantContents(t, dir, "a/b", "new", "c", "new")
		after := listed(t, outside, dir)
		if name == "hard link of outside" { // one name less
			before["in/secret"] = strings.Replace(before["in/secret"], " 2=", " 1=", 1)
		}
		sameListing(t, after, before)
	}
}

// Modes and times come out right where making the content would change them.
func TestExtractAttributes(t *testing.T) {
	at := func(mode uint32, name, data string, mtime uint32) string {
		return raw("070701", [13]uint32{1: mode, 2: 7, 3: 8, 4: 1, 5: mtime, 6: uint32(len(data)), 11: uint32(len(name)) + 1}, name+"\x00", data)
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o750))
	_, err := extract(t, at(0o40711, ".", "", 10)+at(0o41777, "d", "", 11)+at(0o100000, "d/closed", "x", 12)+at(0o104755, "d/su", "x", 13)+
		at(0o42555, "d/e", "", 14)+at(0o100444, "d/e/f", "", 0xffffffff)+at(0o120777, "d/l", "su", 16)+at(0o10622, "p", "", 17)+
		at(0o100644, "made/x", "", 18)+end, dir, ExtractOptions{})
	must(t, err)
	t.Cleanup(func() { opened(dir) })
	for p, want := range map[string]string{
		".": "drwxr-x---", "d": "dtrwxrwxrwx 11", "d/closed": "---------- 12", "d/su": "urwxr-xr-x 13", "d/e": "dgr-xr-xr-x 14",
		"d/e/f": "-r--r--r-- 4294967295", "d/l": "Lrwxrwxrwx 16", "p": "prw--w--w- 17", "made": "drwxr-xr-x", "made/x": "-rw-r--r-- 18",
	} {
		info, err := os.Lstat(filepath.Join(dir, p))
		must(t, err)
		if got := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().Unix()); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Geteuid() {
			t.Errorf("%s: belongs to %d", p, uid)
		}
	}
}

// A hundred thousand files.
func TestExtractMany(t *testing.T) {
	var image bytes.Buffer
	image.WriteString(entry(0o40755, ".", ""))
	for i := range 100_000 {
		if i%1000 == 0 {
			image.WriteString(entry(0o40755, fmt.Sprintf("%02d", i/1000), ""))
		}
		image.WriteString(entry(0o100644, fmt.Sprintf("%02d/%03d", i/1000, i%1000), ""))
	}
	image.WriteString(end)
	dir := t.TempDir()
	tree, _, err := ReadTree(&image, spoolFile(t))
	must(t, err)
	done, err := extractTree(t, tree, dir, ExtractOptions{})
	must(t, err)
	if done.Entries != 100_100 {
		t.Errorf("%d entries", done.Entries)
	}
	again := new(Tree)
	addRoot(t, again, dir)
	if paths(again) != paths(tree) {
		t.Error("the directory has other files")
	}
}

// FuzzExtract: nothing outside of the directory changes, whatever the image and with
// a link out of it in the directory; and into an empty directory every image that can
// be read unpacks. The image is told line by line, TYPE NAME=DATA, so that most of what
// comes up is one.
func FuzzExtract(f *testing.F) {
	f.Add("d a\nf a/b=x\n", false)
	f.Add("l x=../..\nf x/secret=1\nl a=/etc\nf a/passwd=2", true)
	f.Add("h ../secret=\nh x=1\nH a/../y\nl y=x\nf y=2\nt\nh z", true)
	f.Add("l l1=l0/../l0\nl l2=l1/../l1\nd l0\nf l2/x=1\nb a\np q\ns r\n", false)
	f.Fuzz(func(t *testing.T, told string, overwrite bool) {
		r := NewReader(strings.NewReader(toldImage(told)))
		r.MaxContents = 1 << 20
		tree, _, err := ReadImage(r, new(memSpool))
		if err != nil || tree.Len() > 100 {
			return
		}
		outside, dir := walled(t)
		defer opened(dir)
		must(t, os.Symlink("../etc", filepath.Join(dir, "a")))
		before := listed(t, outside, dir)
		_, err = extractTree(t, tree, dir, ExtractOptions{Overwrite: overwrite})
		sameListing(t, listed(t, outside, dir), before)
		if err != nil && !overwrite {
			must(t, os.Remove(filepath.Join(dir, "a")))
			_, err = extractTree(t, tree, dir, ExtractOptions{})
			sameListing(t, listed(t, outside, dir), before)
		}
		if err != nil {
			t.Fatalf("into an empty directory: %v", err)
		}
	})
}

// toldImage makes the image of a text; see FuzzExtract.
func toldImage(told string) string {
	modes := map[byte]uint32{
		'f': 0o100644, 'F': 0o106755, 'h': 0o100644, 'H': 0o100600, 'd': 0o40755, 'D': 0o40000, 'l': 0o120777, 'L': 0o120777,
		'p': 0o10600, 'c': 0o20600, 'b': 0o60600, 's': 0o140600, 'n': 0o600,
	}
	var image strings.Builder
	for line := range strings.SplitSeq(told, "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		name, data, _ := strings.Cut(rest, "=")
		if kind == "" || modes[kind[0]] == 0 {
			image.WriteString(end)
			continue
		}
		links := uint32(1)
		if strings.Contains("hHL", kind[:1]) {
			links = 2
		}
		image.WriteString(linkedEntry(5, links, modes[kind[0]], name, data))
	}
	return image.String() + end
}
