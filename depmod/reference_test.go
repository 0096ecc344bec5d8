package depmod_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

// reference runs kmod 34.2's depmod over lib/modules/version below root and
// returns the files it writes, by name.
func reference(t testing.TB, root, version string) map[string][]byte {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command(filepath.Join(kotest.Lab(t), "depmod-34"), "-b", root, "-m", "lib/modules", "-o", out, "-C", "/dev/null", version)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	return readDir(t, filepath.Join(out, "lib/modules", version))
}

func readDir(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// ours indexes the same tree with this package.
func ours(t testing.TB, fsys fs.FS, version string, o depmod.Options) (map[string][]byte, []depmod.Problem) {
	t.Helper()
	tree, err := depmod.Scan(context.Background(), fsys, "lib/modules/"+version, o)
	if err != nil {
		t.Fatal(err)
	}
	list, problems := tree.Files()
	files := make(map[string][]byte)
	for _, f := range list {
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		files[f.Name] = b.Bytes()
	}
	return files, append(tree.Problems, problems...)
}

// compare demands the eleven files of want, the same bytes in each.
func compare(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	if len(want) != 11 {
		t.Errorf("the reference wrote %d files", len(want))
	}
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			t.Errorf("%s is not written", name)
			continue
		}
		if !bytes.Equal(g, w) {
			t.Errorf("%s differs: %s", name, firstDifference(w, g))
		}
	}
}

func firstDifference(want, got []byte) string {
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	show := func(b []byte) string {
		return strings.ToValidUTF8(string(b[max(0, min(at-30, len(b))):min(len(b), at+50)]), "?")
	}
	return "want …" + show(want) + "…\ngot …" + show(got) + "…"
}

// withoutOrder is a root whose module directory is that of root but for
// modules.order.
func withoutOrder(t testing.TB, root, version string) string {
	t.Helper()
	from, bare := filepath.Join(root, "lib/modules", version), t.TempDir()
	to := filepath.Join(bare, "lib/modules", version)
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range map[string]bool{"modules.builtin": true, "modules.builtin.modinfo": true} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	linkTree(t, filepath.Join(from, "kernel"), filepath.Join(to, "kernel"))
	return bare
}

// linkTree makes to a tree of hard links to the files of from, or of copies where
// links are not possible.
func linkTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLab is the heart of the promise: a distribution's 3,103 modules in four
// packings, and without modules.order, give kmod's bytes.
func TestLab(t *testing.T) {
	version := kotest.LabVersion(t)
	for _, form := range []string{"xz", "plain", "zst", "gz"} {
		for _, ordered := range []bool{true, false} {
			name := form
			if !ordered && form != "plain" {
				continue // how a file is packed and where it stands are two matters
			}
			if !ordered {
				name += " without modules.order"
			}
			t.Run(name, func(t *testing.T) {
				if testing.Short() && form != "xz" {
					t.Skip("-short runs one packing")
				}
				root, refRoot := kotest.LabTree(t, form), kotest.LabTree(t, form)
				if form == "gz" {
					refRoot = kotest.LabTree(t, "xz") // the lab's kmod lacks gzip
				}
				if !ordered {
					same := root == refRoot
					root = withoutOrder(t, root, version)
					if refRoot = withoutOrder(t, refRoot, version); same {
						refRoot = root
					}
				}
				want := reference(t, refRoot, version)
				if form == "gz" {
					for name, b := range want {
						// suffixes of one length, so that no offset in a .bin moves
						want[name] = bytes.ReplaceAll(b, []byte(".ko.xz"), []byte(".ko.gz"))
					}
				}
				got, problems := ours(t, os.DirFS(root), version, depmod.Options{})
				compare(t, want, got)
				for _, p := range problems {
					if ordered || p.Path != "modules.order" {
						t.Error("unexpected finding: ", p)
					}
				}
				if !ordered {
					madeOrderChangesNothing(t, root, version, want)
				}
			})
		}
	}
}

// madeOrderChangesNothing lets the reference run over a tree with the
// modules.order that we make.
func madeOrderChangesNothing(t *testing.T, root, version string, want map[string][]byte) {
	got, _ := ours(t, os.DirFS(root), version, depmod.Options{Complete: true})
	if err := os.WriteFile(filepath.Join(root, "lib/modules", version, "modules.order"), got["modules.order"], 0o644); err != nil {
		t.Fatal(err)
	}
	compare(t, reference(t, root, version), want)
}

// TestSmallTrees compares trees that the real one does not contain.
func TestSmallTrees(t *testing.T) {
	lists := map[string]string{"modules.builtin": "kernel/lib/crc16.ko\n", "modules.builtin.modinfo": "crc16.license=GPL\x00crc16.alias=crypto-crc-16\x00", "modules.order": ""}
	for _, c := range []struct {
		name  string
		files map[string]string
	}{
		{"no modules", nil},
		{"names and suffixes", map[string]string{
			"kernel/two.dots.ko": "export a", "kernel/dash-ed.ko": "need a", ".hidden/h.ko": "need b", "x.ko.xz": "export b",
			"kernel/ko.ko": "", "kernel/not.k": "x", "build/y.ko": "", "a/source/z.ko": ""}},
		{"modules.order with repeats, unknown and empty lines", map[string]string{
			"kernel/a.ko": "", "kernel/b.ko.xz": "", "kernel/c.ko": "", "kernel/d.ko": "",
			"modules.order": "#1\nkernel/d.ko\nkernel/x.ko\n\nkernel/b.ko\nkernel/d.ko\n"}},
		{"modules.order without a last newline", map[string]string{
			"kernel/a.ko": "", "kernel/b.ko": "", "modules.order": "kernel/b.ko\nkernel/a.ko"}},
		{"dependencies", map[string]string{
			"kernel/a.ko": "need b\nneed c\nneed d", "kernel/b.ko": "export b\nneed d", "kernel/c.ko": "export c\nweak d\nneed e",
			"kernel/d.ko": "export d\nexport dup", "kernel/e.ko": "export e\nexport dup", "kernel/f.ko": "need dup\nneed .c\nneed ..b",
			"kernel/g.ko": "version c crc=1\nneed nobody", "kernel/h.ko": "need a\nneed f", "kernel/i.ko": "weak a"}},
		{"several modules export one symbol", map[string]string{
			"kernel/a.ko": "export s crc=1", "kernel/b.ko": "export s crc=2", "kernel/user.ko": "need s",
			"modules.order": "kernel/b.ko\nkernel/user.ko\nkernel/a.ko\n"}},
		{"duplicates: updates comes first", map[string]string{
			"kernel/a.ko": "modinfo alias=kernel", "updates/a.ko": "modinfo alias=updates", "extra/b.ko": "modinfo alias=extra",
			"updates/x/c-d.ko": "modinfo alias=u", "zzz/c_d.ko": "modinfo alias=z", "updatesfoo/e.ko": "modinfo alias=foo"}},
		{"fields", map[string]string{
			"kernel/a.ko": "modinfo alias=usb:v1D6Bp*-[a-f]-x\nmodinfo alias=b-c\nmodinfo alias=b-c\nmodinfo softdep=pre: x-y post: z\n" +
				"modinfo weakdep=w\nmodinfo alias=devname:snd/timer\nmodinfo alias=char-major-116-33",
			"kernel/b.ko": "modinfo alias=\nmodinfo softdep=\nmodinfo alias=devname:loop\nmodinfo alias=block-major-7-+8-x",
			"kernel/c.ko": "modinfo alias=devname:x\nmodinfo alias=char-major-21-*\nmodinfo alias=char-major-1- 2\nmodinfo alias=char-major-3-4",
			"kernel/d.ko": "modinfo alias=char-major-10-200\nmodinfo alias=devname:net/tun\nmodinfo alias=devname:later",
			"kernel/e.ko": "modinfo alias=devname:nothing", "kernel/f.ko": "modinfo alias=char-major-10--1\nmodinfo alias=devname:minus"}},
		{"unbalanced brackets", map[string]string{"kernel/a.ko": "modinfo alias=a[b\nmodinfo alias=c]d\nmodinfo alias=e[f]g\nmodinfo alias=h[i[j]"}},
		{"unreadable modules stay listed", map[string]string{
			"kernel/a.ko": "need b", "kernel/b.ko": "export b", "kernel/text.ko": "@text", "kernel/empty.ko": "@", "kernel/half.ko": "@half"}},
		{"big endian", map[string]string{
			"kernel/a.ko": "elf 64 be ppc64\nneed b crc=1\nmodinfo alias=x", "kernel/b.ko": "elf 32 be mips\nexport b crc=3 kcrctab"}},
		{"built-in lists", map[string]string{
			"kernel/a.ko":             "",
			"modules.builtin":         "kernel/fs/ext4/ext4.ko\n\n1x.ko\nKernel/UP-per.x.ko\nkernel/fs/ext4/ext4.ko\nkernel/last.ko",
			"modules.builtin.modinfo": "a.alias=x-y\x00a.alias=x[z\x00b.alias=x-y\x00\x00b.param=alias=1\x00noequal\x00.alias=q\x00c.d.alias=no\x00b.alias=last"}},
		{"empty built-in lists", map[string]string{"kernel/a.ko": "", "modules.builtin": "", "modules.builtin.modinfo": ""}},
		{"one symbol without versions", map[string]string{"kernel/a.ko": "export x\nneed y crc=1", "kernel/b.ko": "stripped\nexport y\nneed x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := make(map[string]string)
			for _, texts := range []map[string]string{lists, c.files} {
				for name, text := range texts {
					files["lib/modules/6.1.0/"+name] = text
				}
			}
			root := makeTree(t, files)
			want := reference(t, root, "6.1.0")
			got, _ := ours(t, os.DirFS(root), "6.1.0", depmod.Options{})
			compare(t, want, got)
		})
	}
}

// TestMissingListsLikeKmod: without Complete nothing is made up.
func TestMissingListsLikeKmod(t *testing.T) {
	root := makeTree(t, map[string]string{"lib/modules/6.1.0/kernel/a.ko": "", "lib/modules/6.1.0/kernel/b.ko": ""})
	want := reference(t, root, "6.1.0")
	got, _ := ours(t, os.DirFS(root), "6.1.0", depmod.Options{})
	compare(t, want, got)
	if len(got) != 11 {
		t.Errorf("%d files", len(got))
	}
}

// makeTree writes a tree; a module whose text begins with @ is no module: "@half"
// is one cut in the middle, else the rest is the content.
func makeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	good := make(map[string]string)
	for name, text := range files {
		if !strings.HasPrefix(text, "@") {
			good[name] = text
		}
	}
	root := kotest.Dir(t, good)
	for name, text := range files {
		content, bad := strings.CutPrefix(text, "@")
		if !bad {
			continue
		}
		if content == "half" {
			whole := kotest.Must(t, "export a\nneed b")
			content = string(whole[:len(whole)/2])
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}
