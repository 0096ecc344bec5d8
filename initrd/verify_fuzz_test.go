package initrd

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/kstage/kstage/internal/imagetest"
)

// fuzzImages are the crafted images, those that are read to their end among them.
func fuzzImages(f *testing.F) {
	files, err := filepath.Glob("testdata/images/*.txt")
	must(f, err)
	for _, path := range files {
		if image := imagetest.File(f, path); len(image) <= fuzzSize {
			f.Add(image, int64(0))
			f.Add(image, int64(96<<20))
		}
	}
}

// fuzzSize bounds the input: data can unpack to 30,000 times its size.
const fuzzSize = 16 << 10

// FuzzVerify: there is a report or an error; what is whole can be read to its end; and
// what stops the reading is a finding.
func FuzzVerify(f *testing.F) {
	fuzzImages(f)
	f.Fuzz(func(t *testing.T, image []byte, memory int64) {
		if len(image) > fuzzSize {
			t.Skip()
		}
		report, err := Verify(bytes.NewReader(image), Kernel{Memory: memory})
		if (report == nil) == (err == nil) {
			t.Fatalf("%v, %v", report, err)
		}
		entries, readErr := readAll(image)
		if report == nil {
			if readErr == nil {
				t.Fatalf("can be read, but not verified: %v", err)
			}
			return
		}
		if report.Size != int64(len(image)) || report.Files < 0 || report.Needed < report.Size {
			t.Errorf("%+v", report)
		}
		var stop *StopError
		padded := errors.As(readErr, &stop) && stop.part == inPadding
		if report.Whole() && (readErr != nil && !padded || report.Entries != entries) {
			t.Errorf("whole, but %d of %d entries, %v", report.Entries, entries, readErr)
		}
	})
}

func readAll(image []byte) (int, error) {
	r := NewReader(bytes.NewReader(image))
	for n := 0; ; n++ {
		if _, err := r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// FuzzImageReader: an image gives a tree or an error, and the tree makes an image that
// gives the same tree.
func FuzzImageReader(f *testing.F) {
	fuzzImages(f)
	f.Fuzz(func(t *testing.T, image []byte, _ int64) {
		if len(image) > fuzzSize {
			t.Skip()
		}
		r := NewReader(bytes.NewReader(image))
		r.MaxContents = 1 << 20
		spool := spoolFile(t)
		tree, _, err := ReadImage(r, spool)
		if (tree == nil) == (err == nil) {
			t.Fatalf("%v, %v", tree, err)
		}
		if err != nil {
			return
		}
		first := imageOf(t, tree, Options{ModTime: 7})
		again, problems, err := ReadTree(bytes.NewReader(first), spool)
		if err != nil || len(problems) > 0 {
			t.Fatalf("our own image: %v, %v", err, problems)
		}
		if second := imageOf(t, again, Options{ModTime: 7}); !bytes.Equal(first, second) {
			t.Error("another image")
		}
	})
}
