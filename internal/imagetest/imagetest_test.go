package imagetest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// The reference programs unpack what is written here.
func TestCompress(t *testing.T) {
	tests := []struct{ begin, program string }{
		{"gzip", "gzip -dc"}, {`gzip comment="a b"`, "gzip -dc"},
		{"zstd", "zstd -qdc"}, {"zstd window=27", "zstd -qdc"},
		{"xz", "xz -dc"}, {"xz check=none", "xz -qdc"}, {"xz check=crc64", "xz -dc"}, {"xz check=sha256", "xz -dc"},
		{"lz4", "lz4 -dc"},
	}
	for _, tt := range tests {
		for _, n := range []string{"0", "1", "20", "1000", "70000", "300000"} {
			image, err := Image(tt.begin + "\nrepeat " + n + " \"x y\"\nend")
			if err != nil {
				t.Fatal(err)
			}
			plain, err := Image("repeat " + n + ` "x y"`)
			if err != nil {
				t.Fatal(err)
			}
			args := strings.Fields(tt.program)
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("no %s here", args[0])
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = bytes.NewReader(image)
			if out, err := cmd.Output(); err != nil && tt.begin != "xz check=none" || !bytes.Equal(out, plain) {
				t.Errorf("%s, %s times: %v, %d bytes instead of %d", tt.begin, n, err, len(out), len(plain))
			}
		}
	}
}

func TestEntry(t *testing.T) {
	got, err := Image("# one\nfile a \"1 2\" nlink=2 mtime=-1 # a time before 1970\ntrailer")
	const fields = "00000000" + "000081a4" + "00000000" + "00000000" + "00000002" + "-1      " + "00000003" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000"
	want := "070701" + fields + "a\x001 2\x00" + "070701" + strings.Repeat("0", 32) + "00000001" + strings.Repeat("0", 48) + "0000000b" + "00000000" +
		"TRAILER!!!\x00\x00\x00\x00"
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
}

func TestErrors(t *testing.T) {
	for _, text := range []string{"fiel a", "file", "end", "gzip", "zeros x", "cut 1", "align 0", `bytes "a`, "xz check=md5\nend", "zstd window=9\nend", "hex 0"} {
		if b, err := Image(text); err == nil {
			t.Errorf("%q: %q", text, b)
		}
	}
}
