package kotest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mikelolasagasti/xz"
	"golang.org/x/sync/errgroup"
)

// Lab is the folder of real material that lab/fetch makes: a distribution's
// modules and the reference tools. It comes from the environment variable
// KSTAGE_LAB. A test that needs it is skipped where it is missing, but fails
// where CI is "true".
func Lab(t testing.TB) string {
	t.Helper()
	const how = "set KSTAGE_LAB to a folder made by lab/fetch"
	dir := os.Getenv("KSTAGE_LAB")
	if dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err != nil {
			t.Fatalf("%v: %s", err, how)
		}
		return dir
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}

// LabTree is a directory with the lab's lib/modules/VERSION, whose modules
// have the wanted form: "xz" as the distribution packs them, "plain", "gz" or
// "zst". It is made when first asked for, stays beside the lab's own tree, and
// must not be written to.
func LabTree(t testing.TB, form string) string {
	t.Helper()
	lab := Lab(t)
	dir := filepath.Join(lab, "tree-"+form)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	from, ext, convert := "plain", "."+form, Gzip
	switch form {
	case "plain":
		from, ext, convert = "xz", "", unxz
	case "zst":
		convert = Zstd
	case "gz":
	default:
		t.Fatalf("lab tree %s: the forms are xz, plain, gz and zst", form)
	}
	if err := makeTree(dir, LabTree(t, from), ext, convert); err != nil {
		t.Fatalf("lab tree %s: %v", form, err)
	}
	return dir
}

// LabVersion is the kernel version of the lab's modules.
func LabVersion(t testing.TB) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(LabTree(t, "xz"), "lib/modules/*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("lab: one kernel version wanted, there are %d (%v)", len(names), err)
	}
	return filepath.Base(names[0])
}

// LabExports counts the lines of the lab's Module.symvers: symbols of the kernel itself, and
// those of its modules.
func LabExports(t testing.TB) (kernel, modules int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Lab(t), "Module.symvers"))
	if err != nil {
		t.Fatal(err)
	}
	kernel = bytes.Count(data, []byte("\tvmlinux\t"))
	return kernel, bytes.Count(data, []byte("\n")) - kernel
}

// makeTree copies the tree from to dir and converts the modules on the way. It
// works under a temporary name, so that dir is complete when it appears,
// whoever else makes it at the same time.
func makeTree(dir, from, ext string, convert func([]byte) []byte) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	source := os.DirFS(from)
	walk := func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(temp, filepath.FromSlash(name)), 0o755)
		}
		group.Go(func() error { return convertFile(temp, source, name, ext, convert) })
		return nil
	}
	err = fs.WalkDir(source, ".", walk)
	if werr := group.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	err = os.Rename(temp, dir)
	if _, serr := os.Stat(dir); serr == nil {
		return nil // renamed, by this process or another
	}
	return err
}

func convertFile(dir string, source fs.FS, name, ext string, convert func([]byte) []byte) error {
	b, err := fs.ReadFile(source, name)
	if err != nil {
		return err
	}
	if stem, _, found := strings.Cut(name, ".ko"); found {
		name = stem + ".ko" + ext
		if b = convert(b); b == nil {
			return fmt.Errorf("%s: cannot be converted", name)
		}
	}
	return os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o644)
}

// unxz unpacks; nil when b is damaged.
func unxz(b []byte) []byte {
	r, err := xz.NewReader(bytes.NewReader(b), 0)
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return out
}
