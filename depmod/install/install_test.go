package install_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

const moduleDir = "lib/modules/6.12.0"

// stage stages all modules of source into updates/ of a root.
func stage(t *testing.T, root string, source fs.FS, o install.Options) (*install.Report, error) {
	t.Helper()
	target, err := install.OpenTarget(root, moduleDir)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	modules, problems, err := install.ReadDir(source, "updates")
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return target.Stage(context.Background(), modules, o)
}

// list gives the paths of all files and links below a directory.
func list(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestBadSourceLosesNothing(t *testing.T) {
	root := kotest.Dir(t, map[string]string{
		moduleDir + "/updates/a.ko.xz": "modinfo license=old",
		moduleDir + "/updates/b.ko":    "modinfo license=old",
	})
	before := map[string][]byte{}
	for _, name := range list(t, root) {
		before[name] = readFile(t, root, name)
	}
	source := kotest.FS(t, map[string]string{"a.ko": "modinfo license=GPL", "c.ko": "modinfo license=GPL", "z.ko.gz": "modinfo license=GPL\nlabel 99"})
	z := source["z.ko.gz"]
	z.Data = z.Data[:len(z.Data)/2]

	_, err := stage(t, root, source, install.Options{Workers: 1})
	if !errors.Is(err, modinfo.ErrPacking) || !strings.HasPrefix(err.Error(), "z.ko.gz: ") {
		t.Errorf("the error is %v", err)
	}
	for _, name := range list(t, root) {
		if !bytes.Equal(before[name], readFile(t, root, name)) {
			t.Errorf("%s has changed", name)
		}
		delete(before, name)
	}
	if len(before) > 0 {
		t.Errorf("gone: %v", before)
	}
}

func readFile(t *testing.T, root, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCheck(t *testing.T) {
	fsys := kotest.FS(t, map[string]string{
		"good.ko.zst": "modinfo vermagic=6.12.0-x SMP mod_unload riscv\nsignature id=2 0102",
		"plain.ko":    "modinfo license=GPL",
		"cut.ko":      "modinfo license=GPL",
	})
	fsys["cut.ko"].Data = fsys["cut.ko"].Data[:40]
	fsys["dir.ko/file"] = &fstest.MapFile{}
	modules := []install.Module{{FS: fsys, File: "good.ko.zst"}, {FS: fsys, File: "plain.ko"}, {FS: fsys, File: "cut.ko"}, {FS: fsys, File: "none.ko"}, {FS: fsys, File: "dir.ko"}}
	if err := install.Check(context.Background(), modules, install.Options{}); err != nil {
		t.Fatal(err)
	}
	if m := modules[0]; m.Err != nil || m.Release != "6.12.0-x" || !m.Signed {
		t.Errorf("%+v", m)
	}
	if m := modules[1]; m.Err != nil || m.Release != "" || m.Signed {
		t.Errorf("%+v", m)
	}
	for i, want := range []error{2: modinfo.ErrMalformed, 3: fs.ErrNotExist} {
		if want != nil && !errors.Is(modules[i].Err, want) {
			t.Errorf("%s: %v, want %v", modules[i].File, modules[i].Err, want)
		}
	}
	if modules[4].Err == nil {
		t.Error("a directory is no module")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := install.Check(ctx, modules, install.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSuperseded: other files of the same module go, others stay.
func TestSuperseded(t *testing.T) {
	root := kotest.Dir(t, map[string]string{
		moduleDir + "/updates/my-mod.ko.xz": "modinfo license=old",
		moduleDir + "/updates/my_mod.ko.gz": "modinfo license=old",
		moduleDir + "/updates/my-mod.conf":  "mine",
		moduleDir + "/updates/other.ko.gz":  "modinfo license=old",
		moduleDir + "/extra/my-mod.ko.gz":   "modinfo license=old",
	})
	source := kotest.FS(t, map[string]string{"my-mod.ko": "modinfo license=GPL"})
	report, err := stage(t, root, source, install.Options{Packing: new(modinfo.Zstd)})
	if err != nil {
		t.Fatal(err)
	}
	want := &install.Report{Files: []string{"updates/my-mod.ko.zst"}, Written: []string{"updates/my-mod.ko.zst"},
		Removed: []string{"updates/my-mod.ko.xz", "updates/my_mod.ko.gz"}}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	files := []string{moduleDir + "/extra/my-mod.ko.gz", moduleDir + "/updates/my-mod.conf", moduleDir + "/updates/my-mod.ko.zst", moduleDir + "/updates/other.ko.gz"}
	if diff := cmp.Diff(files, list(t, root)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestForeignChecksum: an .xz with a checksum that the kernel does not know is packed
// anew, one that it knows is taken as it is.
func TestForeignChecksum(t *testing.T) {
	plain := kotest.Must(t, "modinfo license=GPL")
	good := kotest.XZ(plain) // CRC32, stored
	source := fstest.MapFS{"a.ko.xz": {Data: good}}
	root := t.TempDir()
	if _, err := stage(t, root, source, install.Options{}); err != nil {
		t.Fatal(err)
	}
	file := moduleDir + "/updates/a.ko.xz"
	if !bytes.Equal(readFile(t, root, file), good) {
		t.Error("it was packed anew, which changes a file without need")
	}

	if _, err := exec.LookPath("xz"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command("xz", "-c", "--check=crc64")
	cmd.Stdin = bytes.NewReader(plain)
	bad, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	source["a.ko.xz"].Data = bad
	if err := os.WriteFile(filepath.Join(root, file), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	report, err := stage(t, root, source, install.Options{})
	if err != nil || len(report.Written) != 1 {
		t.Fatal(report, err)
	}
	got := readFile(t, root, file)
	if got[7] != 1 { // the stream's flags: 1 is CRC32
		t.Errorf("the checksum is of kind %d", got[7])
	}
	var u modinfo.Unpacker
	if unpacked, _, err := u.Unpack(bytes.NewReader(got), int64(len(got))); err != nil || !bytes.Equal(unpacked, plain) {
		t.Errorf("it holds something else (%v)", err)
	}
}

func TestStrip(t *testing.T) {
	source := kotest.FS(t, map[string]string{"a.ko.gz": "modinfo license=GPL"})
	root := t.TempDir()
	small := kotest.Must(t, "modinfo license=none")
	o := install.Options{Strip: func([]byte) ([]byte, error) { return small, nil }}
	for _, written := range []int{1, 0} {
		report, err := stage(t, root, source, o)
		if err != nil || len(report.Written) != written {
			t.Fatal(report, err)
		}
	}
	info, err := modinfo.ReadFile(filepath.Join(root, moduleDir, "updates/a.ko.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if license, _ := info.Get("license"); license != "none" {
		t.Errorf("the license is %s", license)
	}
	o.Strip = func([]byte) ([]byte, error) { return nil, errors.New("cannot be stripped") }
	if _, err := stage(t, root, source, o); err == nil || err.Error() != "a.ko.gz: cannot be stripped" {
		t.Error(err)
	}
}

func TestReadBuild(t *testing.T) {
	text := map[string]string{
		"include/config/kernel.release": "6.12.0\n",
		"modules.order":                 "a/a.o\nb/b.o\na/a.o\n",
		"modules.builtin":               "kernel/c.ko\n",
		"modules.builtin.modinfo":       "c.license=GPL\x00",
		"modules.builtin.ranges":        "ranges",
		"a/a.ko":                        "modinfo license=GPL",
		"b/b.ko":                        "modinfo license=GPL",
	}
	build, err := install.ReadBuild(kotest.FS(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var paths, lists []string
	for _, m := range build.Modules {
		paths = append(paths, m.Path+" "+m.File)
	}
	for _, l := range build.Lists {
		lists = append(lists, l.Name+" "+string(l.Data))
	}
	if diff := cmp.Diff([]string{"kernel/a/a.ko a/a.ko", "kernel/b/b.ko b/b.ko"}, paths); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"modules.order kernel/a/a.ko\nkernel/b/b.ko\nkernel/a/a.ko\n", "modules.builtin kernel/c.ko\n",
		"modules.builtin.modinfo c.license=GPL\x00", "modules.builtin.ranges ranges"}, lists); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	for name, change := range map[string]string{
		"include/config/kernel.release": "../x\n",
		"modules.order":                 "../../etc/passwd.o\n",
	} {
		bad := kotest.FS(t, text)
		bad[name].Data = []byte(change)
		if _, err := install.ReadBuild(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with %q: %v", name, change, err)
		}
	}
	for _, name := range []string{"include/config/kernel.release", "modules.order", "modules.builtin", "modules.builtin.modinfo", "b/b.ko"} {
		bad := kotest.FS(t, text)
		delete(bad, name)
		if _, err := install.ReadBuild(bad); !errors.Is(err, install.ErrNotBuilt) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestPacking has the configurations of three generations of kernels.
func TestPacking(t *testing.T) {
	for text, want := range map[string]modinfo.Compression{
		"CONFIG_MODULES=y": modinfo.None,
		// up to 5.12
		"CONFIG_MODULE_COMPRESS=y\nCONFIG_MODULE_COMPRESS_GZIP=y\n# CONFIG_MODULE_COMPRESS_XZ is not set": modinfo.Gzip,
		// 5.13 to 6.11
		"# CONFIG_MODULE_COMPRESS_NONE is not set\nCONFIG_MODULE_COMPRESS_XZ=y": modinfo.XZ,
		"CONFIG_MODULE_COMPRESS_NONE=y\n# CONFIG_MODULE_COMPRESS_XZ is not set": modinfo.None,
		// since 6.12
		"CONFIG_MODULE_COMPRESS=y\nCONFIG_MODULE_COMPRESS_ZSTD=y\nCONFIG_MODULE_COMPRESS_ALL=y":            modinfo.Zstd,
		"CONFIG_MODULE_COMPRESS=y\nCONFIG_MODULE_COMPRESS_ZSTD=y\n# CONFIG_MODULE_COMPRESS_ALL is not set": modinfo.None,
		"CONFIG_MODULES=y\n# CONFIG_MODULE_COMPRESS is not set":                                            modinfo.None,
	} {
		config, err := kernel.ParseConfig(strings.NewReader(text + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := install.Packing(config); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestReadTreeTwice(t *testing.T) {
	files := map[string]string{
		"m/a.ko": "", "m/a.ko.xz": "", "m/sub/a.ko.gz": "", "m/build/b.ko": "", "m/c-d.ko": "", "m/c_d.ko.gz": "",
		"m/modules.dep": "a.ko.xz: sub/a.ko.gz\nc-d.ko:\n",
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	modules, err := install.ReadTree(fsys, "m")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range modules {
		got = append(got, m.Path+" "+m.File)
	}
	if diff := cmp.Diff([]string{"a.ko m/a.ko.xz", "c-d.ko m/c-d.ko", "sub/a.ko m/sub/a.ko.gz"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	fsys["m/modules.dep"].Data = nil
	if _, err := install.ReadTree(fsys, "m"); !errors.Is(err, install.ErrAmbiguous) {
		t.Error(err)
	}
}

func TestTwice(t *testing.T) {
	modules := []install.Module{{Path: "updates/a/x-y.ko"}, {Path: "updates/z.ko"}, {Path: "updates/b/x_y.ko"}}
	first, second := install.Twice(modules)
	if first != &modules[0] || second != &modules[2] {
		t.Error(first, second)
	}
	if first, _ := install.Twice(modules[:2]); first != nil {
		t.Error(first)
	}
}

// TestWorkers: how many work at once changes nothing.
func TestWorkers(t *testing.T) {
	texts := make(map[string]string)
	for _, name := range strings.Fields("a b c d e f g h i j") {
		texts[name+".ko"] = "modinfo license=GPL\nmodinfo author=" + name
	}
	source := kotest.FS(t, texts)
	var outputs []map[string]string
	for _, workers := range []int{1, 8} {
		root := t.TempDir()
		report, err := stage(t, root, source, install.Options{Packing: new(modinfo.Zstd), Workers: workers})
		if err != nil || !slices.IsSorted(report.Written) || len(report.Written) != len(texts) {
			t.Fatal(report, err)
		}
		files := make(map[string]string)
		for _, name := range list(t, root) {
			files[name] = string(readFile(t, root, name))
		}
		outputs = append(outputs, files)
	}
	if diff := cmp.Diff(outputs[0], outputs[1]); diff != "" {
		t.Error(diff)
	}
}
