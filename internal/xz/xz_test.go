package xz

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/internal/kotest"
)

const limit = 64 << 20

// run pipes in through the reference tool; the error is its exit status.
func run(t testing.TB, in []byte, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz here")
	}
	cmd := exec.Command("xz", args...)
	cmd.Stdin = bytes.NewReader(in)
	return cmd.Output()
}

// sample has text, machine code, runs of one byte and noise; the seed is fixed.
func sample(t testing.TB, size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	exe, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for len(b) < size {
		n := r.IntN(size/8 + 1)
		switch r.IntN(4) {
		case 0:
			at := r.IntN(len(exe) - n)
			b = append(b, exe[at:at+n]...)
		case 1:
			b = append(b, make([]byte, n)...)
		case 2:
			for range n / 16 {
				b = fmt.Appendf(b, "line %d of %x\n", len(b), r.IntN(99))
			}
		case 3:
			for range n / 64 {
				b = append(b, byte(r.Uint32()))
			}
		}
	}
	return b[:size]
}

// TestAgainstXZ unpacks what xz packs, in every way that it packs.
func TestAgainstXZ(t *testing.T) {
	small, large := sample(t, 100<<10), sample(t, 3<<20)
	var d Decoder
	check := func(plain []byte, args ...string) {
		t.Helper()
		packed, err := run(t, plain, append([]string{"-c"}, args...)...)
		if err != nil {
			t.Fatalf("xz %v: %v", args, err)
		}
		got, err := d.DecodeAll(nil, packed, limit)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("xz %v: %v, %d bytes, want %d, same %v", args, err, len(got), len(plain), bytes.Equal(got, plain))
		}
	}
	for preset := range 10 {
		check(small, fmt.Sprintf("-%d", preset))
		check(small, fmt.Sprintf("-%de", preset))
	}
	for _, c := range []string{"none", "crc32", "crc64", "sha256"} {
		check(small, "--check="+c)
		check(nil, "--check="+c)
		check([]byte("x"), "--check="+c)
	}
	for lc := range 5 {
		for lp := range 5 - lc {
			for pb := range 5 {
				check(small, fmt.Sprintf("--lzma2=preset=2,lc=%d,lp=%d,pb=%d", lc, lp, pb))
			}
		}
	}
	for _, args := range [][]string{{"-T2"}, {"-T1", "--block-size=100000"}, {"-T2", "--block-size=1MiB"}, {"--lzma2=dict=4KiB"},
		{"--check=crc32", "--lzma2=dict=1MiB"}, {"--lzma2=nice=2,mf=hc3"}, {"--block-list=1,2,3,4,90000,0"}} {
		check(small, args...)
		check(large, append(args, "-1")...)
	}
}

// TestStreams: streams and padding in a row, and memory of the caller.
func TestStreams(t *testing.T) {
	one := stream{check: 1, blocks: []rawBlock{{data: append(stored(1, []byte("one")), 0), plain: []byte("one")}}}.bytes()
	two := stream{check: 4, blocks: []rawBlock{{sizes: true, data: append(stored(1, []byte("two")), 0), plain: []byte("two")},
		{data: []byte{0}}}}.bytes()
	none := stream{check: 10}.bytes()
	var d Decoder
	for _, test := range []struct {
		name string
		src  [][]byte
		want string
	}{
		{"one", [][]byte{one}, "one"},
		{"nothing", [][]byte{none}, ""},
		{"two", [][]byte{one, two}, "onetwo"},
		{"padding", [][]byte{one, make([]byte, 4), two, make([]byte, 8)}, "onetwo"},
		{"much padding", [][]byte{two, make([]byte, 8000), none, none, one, make([]byte, 4096)}, "twoone"},
		{"kotest", [][]byte{kotest.XZ([]byte("a"), []byte("b")), kotest.XZ()}, "ab"},
	} {
		src := bytes.Join(test.src, nil)
		if out, err := run(t, src, "-dc"); err != nil || string(out) != test.want {
			t.Errorf("%s: xz -d: %v, %q", test.name, err, out)
		}
		got, err := d.DecodeAll(nil, src, limit)
		if err != nil || got == nil || string(got) != test.want {
			t.Errorf("%s: %v, %q, want %q", test.name, err, got, test.want)
		}
		room := make([]byte, 2, 4096)
		got, err = d.DecodeAll(room, src, int64(len(test.want)))
		if err != nil || string(got) != "\x00\x00"+test.want || &got[0] != &room[0] {
			t.Errorf("%s: %v, %q behind two zero bytes in the same memory", test.name, err, got)
		}
	}
}

// TestSymbols decodes rows of random symbols: all kinds, lengths, distances and
// properties. xz must unpack them to the same.
func TestSymbols(t *testing.T) {
	var d Decoder
	for seed := range uint64(60) {
		src := randomFile(seed, 40000)
		want, err := run(t, src, "-dc")
		if err != nil {
			t.Fatalf("seed %d: xz -d: %v", seed, err)
		}
		if got, err := d.DecodeAll(nil, src, limit); err != nil || !bytes.Equal(got, want) {
			t.Errorf("seed %d: %v, same %v", seed, err, bytes.Equal(got, want))
		}
	}
}

// randomFile has one chunk of random symbols, with random properties.
func randomFile(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	lc := r.IntN(5)
	props := byte((r.IntN(5)*5+r.IntN(5-lc))*9 + lc)
	e := newEncoder(props)
	for len(e.plain) < size && len(e.out) < 1<<16-64 {
		randomSymbol(r, e)
	}
	data := append(packed(0xe0, len(e.plain), []byte{props}, e.end()), 0)
	return stream{check: 1, blocks: []rawBlock{{data: data, plain: e.plain}}}.bytes()
}

func randomSymbol(r *rand.Rand, e *encoder) {
	length := uint(2 + r.IntN(8)>>r.IntN(3))
	if r.IntN(4) == 0 {
		length = uint(2 + r.IntN(272))
	}
	n := len(e.plain)
	switch r.IntN(3 + min(n, 3)) {
	case 0, 1, 2:
		e.literal(byte(r.Uint32() >> r.IntN(8)))
	case 3:
		e.match(uint(1+r.IntN(n)>>r.IntN(12)), length)
	case 4:
		if int(e.reps[0]) < n {
			e.rep(0, 1)
		}
	case 5:
		if i := r.IntN(4); int(e.reps[i]) < n {
			e.rep(i, length)
		}
	}
}

// TestLab unpacks a distribution's modules, whole and in pieces.
func TestLab(t *testing.T) {
	plain, packed := kotest.LabTree(t, "plain"), kotest.LabTree(t, "xz")
	var group errgroup.Group
	names := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			var l labReader
			var err error
			for name := range names {
				if err == nil {
					err = l.compare(filepath.Join(packed, name+".xz"), filepath.Join(plain, name))
				}
			}
			return err
		})
	}
	count := 0
	err := fs.WalkDir(os.DirFS(packed), ".", func(name string, _ fs.DirEntry, err error) error {
		if stem, found := strings.CutSuffix(name, ".xz"); found {
			names <- stem
			count++
		}
		return err
	})
	close(names)
	if werr := group.Wait(); werr != nil || err != nil || count < 1000 {
		t.Fatalf("%d modules: %v %v", count, err, werr)
	}
}

type labReader struct {
	d   Decoder
	r   Reader
	out []byte
}

func (l *labReader) compare(packed, plain string) error {
	src, err := os.ReadFile(packed)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(plain)
	if err != nil {
		return err
	}
	if l.out, err = l.d.DecodeAll(l.out[:0], src, limit); err != nil || !bytes.Equal(l.out, want) {
		return fmt.Errorf("%s: %v, same %v", packed, err, bytes.Equal(l.out, want))
	}
	if err := l.r.Reset(bytes.NewReader(src), int64(len(src)), limit); err != nil || l.r.Size() != int64(len(want)) {
		return fmt.Errorf("%s: %v, size %d", packed, err, l.r.Size())
	}
	if l.r.Blocks() == 1 {
		return nil
	}
	b := make([]byte, 100<<10)
	for _, at := range []int{0, len(want) - len(b), min(3<<20-50<<10, len(want)-len(b)), 0, len(want) / 2, len(want)/2 - 1000} {
		if _, err := l.r.ReadAt(b, int64(at)); err != nil || !bytes.Equal(b, want[at:at+len(b)]) {
			return fmt.Errorf("%s at %d: %v, same %v", packed, at, err, bytes.Equal(b, want[at:at+len(b)]))
		}
	}
	return nil
}

// TestCutOff cuts files off at each byte.
func TestCutOff(t *testing.T) {
	for name, src := range smallFiles(t) {
		var d Decoder
		for n := range src {
			got, err := d.DecodeAll(nil, src[:n], limit)
			var f *FormatError
			if got != nil || !errors.As(err, &f) || f.Kind != ErrTruncated || f.Offset > int64(n) {
				t.Errorf("%s, first %d bytes: %v, %d bytes", name, n, err, len(got))
			}
			if _, err := NewReader(bytes.NewReader(src[:n]), int64(n), limit); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s, first %d bytes: Reader: %v", name, n, err)
			}
		}
	}
}

// TestFlippedBit turns over each bit: no other content must ever come out.
func TestFlippedBit(t *testing.T) {
	for name, src := range smallFiles(t) {
		var d Decoder
		want, err := d.DecodeAll(nil, src, limit)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range 8 * len(src) {
			src[i/8] ^= 1 << (i % 8)
			got, err := d.DecodeAll(nil, src, limit)
			if (got == nil) == (err == nil) || err == nil && !bytes.Equal(got, want) {
				t.Errorf("%s, bit %d of byte %d: %v, %d bytes", name, i%8, i/8, err, len(got))
			}
			src[i/8] ^= 1 << (i % 8)
		}
	}
}

// smallFiles are of a few hundred bytes, with each check and kind of chunk.
func smallFiles(t testing.TB) map[string][]byte {
	files := make(map[string][]byte)
	for id, name := range map[byte]string{1: "crc32", 4: "crc64", 10: "sha256"} {
		e := newEncoder(0x5d)
		for i := range 60 {
			e.literal(byte(i * i))
		}
		e.match(7, 33)
		e.match(60, 4)
		e.rep(1, 12)
		e.rep(0, 1)
		e.literal('z')
		plain := append(e.plain, "stored, and stored"...)
		data := packed(0xe0, len(e.plain), []byte{0x5d}, e.end())
		data = append(append(data, stored(2, []byte("stored, and stored"))...), 0)
		two := rawBlock{sizes: true, data: append(stored(1, []byte("2")), 0), plain: []byte("2")}
		files[name] = stream{check: id, blocks: []rawBlock{{data: data, plain: plain}, two}}.bytes()
	}
	return files
}
