package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// unpack decompresses the stream that src begins with; rest is what follows it.
func unpack(m Method, src []byte) (plain, rest []byte, err error) {
	br := bufio.NewReader(bytes.NewReader(src))
	z, err := decoder(m, br)
	if err != nil {
		return nil, nil, err
	}
	defer z.Close()
	if plain, err = io.ReadAll(z); err != nil {
		return plain, nil, err
	}
	rest, err = io.ReadAll(br)
	return plain, rest, err
}

// pack compresses with the reference program.
func pack(t testing.TB, data []byte, command string) []byte {
	t.Helper()
	args := strings.Fields(command)
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("no %s here", args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

// References make streams of every kind and level.
var references = []string{
	"gzip -c", "gzip -1c", "gzip -9c",
	"zstd -qc", "zstd -qc -1 --no-check", "zstd -qc -19", "zstd -qc --long=27", "zstd -qc -T2", "zstd -qc --fast=5",
	"xz -c", "xz -0c", "xz -9ec", "xz -c --check=crc32", "xz -c --check=none", "xz -c --check=sha256", "xz -c -T2 --block-size=70000", "xz -c --lzma2=lc=0,lp=4,pb=0,dict=4096",
	"xz -c --format=lzma", "xz -0c --format=lzma", "xz -9c --format=lzma", "xz -c --format=lzma --lzma1=dict=4096",
	"bzip2 -c", "bzip2 -1c",
	"lz4 -lc", "lz4 -l9c",
}

func TestDecodeReferences(t *testing.T) {
	large := words(300_000)
	for _, command := range references {
		t.Run(command, func(t *testing.T) {
			for _, size := range []int{0, 1, 100, 64 << 10, 300_000} {
				src := pack(t, large[:size], command)
				m, ok := DetectMethod(src)
				if !ok || !strings.Contains(command, m.String()) {
					t.Fatalf("%d bytes: taken for %v", size, m)
				}
				for _, tail := range tails(src) {
					if m == LZ4 && len(tail) > 0 {
						tail = append([]byte{0, 0, 0, 0}, tail...)
					}
					plain, rest, err := unpack(m, append(bytes.Clone(src), tail...))
					if m == LZ4 && len(tail) > 0 {
						tail = tail[4:]
					}
					if err != nil || !bytes.Equal(plain, large[:size]) {
						t.Errorf("%d bytes: got %d, %v", size, len(plain), err)
					}
					if !bytes.Equal(rest, tail) {
						t.Errorf("%d bytes: behind it are %.20q, want %.20q", size, rest, tail)
					}
				}
			}
		})
	}
}

// tails are what may follow a stream: nothing, padding, cpio, junk that looks
// like a continuation, and the same stream again.
func tails(src []byte) [][]byte {
	t := [][]byte{nil, make([]byte, 1), make([]byte, 600), []byte("070701"), []byte("B"), []byte("BZh9"), src}
	if len(src) > 1<<20 {
		return t[:4]
	}
	return t
}

// None of these is silent when it is cut off. lz4 has no end that could be
// missed, so a cut between two blocks cannot be found.
func TestDecodeCutOff(t *testing.T) {
	data := words(3000)
	for _, command := range references {
		t.Run(command, func(t *testing.T) {
			src := pack(t, data, command)
			m, _ := DetectMethod(src)
			for n := range src {
				if m == LZ4 && n == 4 {
					continue
				}
				plain, _, err := unpack(m, src[:n])
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d of %d bytes: %v", n, len(src), err)
				}
				if !bytes.HasPrefix(data, plain) {
					t.Errorf("%d of %d bytes give something else", n, len(src))
				}
			}
		})
	}
}

func TestLZ4FrameIsNotDetected(t *testing.T) {
	for _, head := range []string{"\x04\x22\x4d\x18", "\x50\x2a\x4d\x18", "070701", "\x00\x00", "\x1f", ""} {
		if m, ok := DetectMethod([]byte(head)); ok {
			t.Errorf("%q taken for %v", head, m)
		}
	}
	_, err := decoder(LZO, bufio.NewReader(strings.NewReader("\x89LZO")))
	if got := fmt.Sprint(err); got != "lzo: not supported" {
		t.Error(got)
	}
}
