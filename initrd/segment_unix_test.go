//go:build unix

package initrd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// byReference returns the reference program's decompression of a whole segment, of
// which lz4's ends in four zero bytes that lz4 itself does not know.
func byReference(t *testing.T, m Method, data []byte) []byte {
	t.Helper()
	if m == None {
		return data
	}
	if m == LZ4 {
		data = bytes.TrimSuffix(data, make([]byte, 4))
	}
	cmd := exec.Command(m.String(), "-dc")
	cmd.Stdin = bytes.NewReader(data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v -dc: %v\n%s", m, err, &stderr)
	}
	return out
}

// needTools skips the test where a program is missing.
func needTools(t *testing.T) {
	t.Helper()
	gnuCpio(t)
	for _, name := range []string{"gzip", "zstd", "xz", "lz4"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("no " + name + " to compare with")
		}
	}
}

// Cut apart at the offsets told, each segment is what its own program unpacks
// to an archive that GNU cpio lists, and unpacked one over the other they are
// the tree.
func TestSegmentsByReferences(t *testing.T) {
	needTools(t)
	tree := mixed(t)
	for _, tt := range segmentCases {
		for _, c := range []string{"none", "gzip", "zstd", "xz", "lz4"} {
			o := Options{Compression: compression(t, c), OneSegment: tt.one, Align: 512, ModTime: 1_700_000_000}
			want := tt.compressed
			if c == "none" {
				want = tt.plain
			}
			if tt.early {
				o.Early = early(t)
			}
			var b bytes.Buffer
			sum, err := Write(t.Context(), &b, tree, o)
			must(t, err)
			out := t.TempDir()
			for i, s := range sum.Segments {
				archive := string(byReference(t, s.Method, b.Bytes()[s.Offset:s.Offset+s.Size]))
				names := strings.Fields(runCpio(t, out, archive, "-it", "-H", "newc"))
				if got := strings.Join(names, " "); got != want[i] {
					t.Errorf("%s, %s: segment %d has %s, want %s", tt.name, c, i, got, want[i])
				}
				runCpio(t, out, archive, "-im", "-H", "newc", "--no-preserve-owner") // without -d: every directory is there
			}
			again := new(Tree)
			addRoot(t, again, out)
			if tt.early {
				again.Remove("kernel")
			}
			if !bytes.Equal(imageOf(t, again, Options{}), imageOf(t, tree, Options{})) {
				t.Errorf("%s, %s: unpacked to %s", tt.name, c, paths(again))
			}
		}
	}
}

// Several frames are one stream to the reference programs, with or without
// what fills up the image to a multiple of 4; and what the headers tell is what
// the kernel needs.
func TestFramesByReferences(t *testing.T) {
	needTools(t)
	tree := large(t, 0)
	archive := imageOf(t, tree, Options{})
	dir := t.TempDir()
	for _, c := range []string{"gzip", "zstd", "xz:1", "lz4"} {
		var b bytes.Buffer
		sum, err := Write(t.Context(), &b, tree, Options{Compression: compression(t, c)})
		must(t, err)
		s := sum.Segments[0]
		if !bytes.Equal(byReference(t, s.Method, b.Bytes()[:s.Size]), archive) {
			t.Errorf("%s: the frames are not the archive", c)
		}
		if s.Method != LZ4 && !bytes.Equal(byReference(t, s.Method, b.Bytes()), archive) {
			t.Errorf("%s: the image is not the archive", c)
		}
		image := filepath.Join(dir, "image."+map[Method]string{Gzip: "gz", Zstd: "zst", XZ: "xz", LZ4: "lz4"}[s.Method])
		must(t, os.WriteFile(image, b.Bytes(), 0o600))
		switch s.Method {
		case Zstd:
			out, err := exec.Command("zstd", "-lv", image).CombinedOutput()
			saysAll(t, string(out), err, fmt.Sprintf("Frames: %d\n", s.Frames), fmt.Sprintf("(%d B)", len(archive)))
		case XZ:
			out, err := exec.Command("xz", "-l", "--robot", image).CombinedOutput()
			saysAll(t, string(out), err, fmt.Sprintf("file\t%d\t%d\t", s.Frames, s.Frames), "\tCRC32\t")
		}
	}
}

func saysAll(t *testing.T, out string, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err != nil || !strings.Contains(out, part) {
			t.Errorf("%v, %q is not in\n%s", err, part, out)
		}
	}
}

// Readers of cpio archives take the padded names and the repeated root of an
// aligned archive.
func TestAlignedByReferences(t *testing.T) {
	gnuCpio(t)
	dir := sampleDir(t, 1_700_000_001)
	tree := new(Tree)
	addRoot(t, tree, dir)
	long := strings.Repeat("l", 200)
	must(t, tree.Put(File(strings.Repeat(long+"/", 14)+"file", 0o644, []byte("at the end of a long path"))))
	image := imageOf(t, tree, Options{Align: 4096, ModTime: 1_700_000_001})
	for _, command := range [][]string{
		{"cpio", "-idm", "-H", "newc", "--quiet", "--no-preserve-owner"},
		{"bsdcpio", "-idm", "--quiet"},
		{"busybox", "cpio", "-idm", "-H", "newc"},
	} {
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("no %s here", command[0])
			continue
		}
		out := t.TempDir()
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir, cmd.Stdin = out, bytes.NewReader(image)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, said)
			continue
		}
		again := new(Tree)
		addRoot(t, again, out)
		if !bytes.Equal(imageOf(t, again, Options{}), imageOf(t, tree, Options{})) {
			t.Errorf("%s: unpacked to %s, want %s", command, paths(again), paths(tree))
		}
	}
}
