package kotest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// LabShared is the folder of material that no package has and that lab/fetch is
// part of: out-of-tree modules with what becomes of them in oot, and a small kernel
// in k61. It stands beside the project as ../shared/lab, or is what KSTAGE_LAB has
// as "shared". A test that needs it is skipped where it is missing, but fails where
// CI is "true".
func LabShared(t testing.TB) string {
	t.Helper()
	const how = "the folder ../shared/lab beside the project is needed"
	if lab := os.Getenv("KSTAGE_LAB"); lab != "" {
		if dir := filepath.Join(lab, "shared"); exists(filepath.Join(dir, "k61")) {
			return dir
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	if dir = filepath.Join(filepath.Dir(dir), "shared", "lab"); exists(filepath.Join(dir, "k61")) {
		return dir
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}

// LabSharedFile reads a file of [LabShared], unpacked when its name ends in .zst.
func LabSharedFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(LabShared(t), filepath.FromSlash(name)))
	if err == nil && filepath.Ext(name) == ".zst" {
		var z *zstd.Decoder
		if z, err = zstd.NewReader(nil); err == nil {
			defer z.Close()
			b, err = z.DecodeAll(b, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
