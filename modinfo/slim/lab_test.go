package slim_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/slim"
)

// labModules are the files of the lab's modules, unpacked.
func labModules(t testing.TB) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(kotest.LabTree(t, "plain"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".ko" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 3000 {
		t.Fatalf("lab: %d modules, %v", len(paths), err)
	}
	return paths
}

// TestLab strips all modules of a distribution. Each must pass the check and readelf,
// and modinfo must tell the same of it; together they must be small.
func TestLab(t *testing.T) {
	paths, readelf := labModules(t), tool(t, "readelf")
	var before, after, changed atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for batch := range slices.Chunk(paths, 100) {
		dir := t.TempDir()
		group.Go(func() error {
			for _, path := range batch {
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				out, report, err := slim.Strip(data)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				if err := errors.Join(check(data, out, report), sameModinfo(data, out, report)); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				before.Add(int64(len(data)))
				after.Add(int64(len(out)))
				if report.Changed() {
					changed.Add(1)
				}
				if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), out, 0o644); err != nil {
					return err
				}
			}
			return errors.Join(readAll(readelf, dir), os.RemoveAll(dir))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	share := float64(after.Load()) / float64(before.Load())
	t.Logf("%d modules, %d of them changed: %d bytes became %d, %.4f of them", len(paths), changed.Load(), before.Load(), after.Load(), share)
	if share > 0.40 || changed.Load() < 3000 {
		t.Error("that is not enough")
	}
}

// sameModinfo compares all that modinfo tells but the sizes, and the signature, which
// must be gone from a module that is changed.
func sameModinfo(before, after []byte, r slim.Report) error {
	a, err := modinfo.Read(bytes.NewReader(before), int64(len(before)))
	if err != nil {
		return err
	}
	b, err := modinfo.Read(bytes.NewReader(after), int64(len(after)))
	if err != nil {
		return err
	}
	if (b.Signature != nil) != (a.Signature != nil && !r.Changed()) {
		return errors.New("the signature was not treated as it must be")
	}
	for _, m := range []*modinfo.Module{a, b} {
		m.Size, m.Signature, m.Sections = 0, nil, nil
	}
	if diff := cmp.Diff(a, b); diff != "" {
		return errors.New("modinfo differs:\n" + diff)
	}
	return nil
}

// readAll has readelf read all of each file in dir.
func readAll(readelf, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	cmd := exec.Command(readelf, append([]string{"-aW"}, names...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		return fmt.Errorf("readelf: %v\n%s", err, stderr.String())
	}
	return nil
}

// tool finds a program; in CI none may be missing.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// TestGNUStrip compares with strip -X -g of binutils, which leaves out the same: each
// section must be as it makes it. To go faster it sees one module in thirty.
func TestGNUStrip(t *testing.T) {
	strip := tool(t, "riscv64-linux-gnu-strip")
	dir := t.TempDir()
	args := []string{"-X", "-g"}
	var ours []string
	for i, path := range labModules(t) {
		if i%30 != 0 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out, report, err := slim.Strip(data)
		if err != nil {
			t.Fatal(err)
		}
		if !report.Changed() {
			continue
		}
		name := filepath.Join(dir, filepath.Base(path))
		if err := errors.Join(os.WriteFile(name, data, 0o644), os.WriteFile(name+".ours", out, 0o644)); err != nil {
			t.Fatal(err)
		}
		args, ours = append(args, name), append(ours, name+".ours")
	}
	if out, err := exec.Command(strip, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(ours) < 90 {
		t.Fatalf("%d modules are too few", len(ours))
	}
	for _, name := range ours {
		sameSections(t, strings.TrimSuffix(name, ".ours"), name)
	}
}

func sameSections(t *testing.T, theirs, ours string) {
	t.Helper()
	var files [2]*elf64.File
	for i, name := range []string{theirs, ours} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = elf64.Parse(data); err != nil {
			t.Fatal(err)
		}
	}
	a, b := files[0], files[1]
	if len(a.Sections) != len(b.Sections) || a.Names != b.Names {
		t.Errorf("%s: %d sections, want %d", ours, len(b.Sections), len(a.Sections))
		return
	}
	for i := range a.Sections {
		x, y := a.Sections[i], b.Sections[i]
		same := bytes.Equal(a.Content(&x), b.Content(&y))
		x.Off, y.Off = 0, 0
		if x != y || !same {
			t.Errorf("%s: section\n%+v, want\n%+v; the same content: %v", ours, y, x, same)
		}
	}
}
