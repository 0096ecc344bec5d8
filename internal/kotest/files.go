package kotest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// File makes the content of one file of a tree. The name decides: for a
// .ko the text is the form of [Parse]; .ko.gz, .ko.xz and .ko.zst are compressed as
// well; for every other name the text is the content.
func File(name, text string) ([]byte, error) {
	compress := compressor(name)
	if compress == nil {
		return []byte(text), nil
	}
	b, err := Build(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return compress(b), nil
}

// compressor tells what becomes of a built module of that name; nil if the
// name is not a module's.
func compressor(name string) func([]byte) []byte {
	switch {
	case strings.HasSuffix(name, ".ko"):
		return func(b []byte) []byte { return b }
	case strings.HasSuffix(name, ".ko.gz"):
		return Gzip
	case strings.HasSuffix(name, ".ko.xz"):
		return func(b []byte) []byte { return XZ(b) }
	case strings.HasSuffix(name, ".ko.zst"):
		return Zstd
	}
	return nil
}

// FS makes a file system of the texts, by path, as [File] does.
func FS(t testing.TB, texts map[string]string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range texts {
		b, err := File(name, text)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	return fsys
}

// Dir writes the texts, by path, as [File] does, into a temporary directory.
func Dir(t testing.TB, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		b, err := File(name, text)
		if err == nil {
			err = writeFile(filepath.Join(dir, filepath.FromSlash(name)), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Generate makes a module dir/X.ko of each X.ko.txt below src.
func Generate(dir string, src fs.FS) error {
	return fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		name, isText := strings.CutSuffix(name, ".ko.txt")
		if err != nil || d.IsDir() || !isText {
			return err
		}
		text, err := fs.ReadFile(src, name+".ko.txt")
		if err != nil {
			return err
		}
		b, err := File(name+".ko", string(text))
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, filepath.FromSlash(name)+".ko"), b)
	})
}

func writeFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
