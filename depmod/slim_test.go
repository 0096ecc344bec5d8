package depmod_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo/slim"
)

// The index of all the lab's modules does not change when these are stripped: neither
// that which kmod writes nor ours.
func TestLabStripped(t *testing.T) {
	version := kotest.LabVersion(t)
	whole, stripped := kotest.LabTree(t, "plain"), t.TempDir()
	if err := stripTree(whole, stripped); err != nil {
		t.Fatal(err)
	}
	want := reference(t, whole, version)
	compare(t, want, reference(t, stripped, version))
	got, problems := ours(t, os.DirFS(stripped), version, depmod.Options{})
	compare(t, want, got)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

// stripTree copies a tree, the modules stripped.
func stripTree(from, to string) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(from, path)
		if err = errors.Join(err, rerr); err != nil {
			return err
		}
		name := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(name, 0o755)
		}
		group.Go(func() error {
			data, err := os.ReadFile(path)
			if err == nil && filepath.Ext(path) == ".ko" {
				data, _, err = slim.Strip(data)
			}
			return errors.Join(err, os.WriteFile(name, data, 0o644))
		})
		return nil
	})
	return errors.Join(err, group.Wait())
}
