package initrd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestParseCompression(t *testing.T) {
	tests := map[string]Compression{
		"none":    {},
		"gzip":    {Method: Gzip},
		"gzip:1":  {Method: Gzip, Level: 1},
		"gzip:9":  {Method: Gzip, Level: 9},
		"zstd":    {Method: Zstd},
		"zstd:19": {Method: Zstd, Level: 19},
		"xz":      {Method: XZ},
		"xz:1":    {Method: XZ, Level: 1},
		"lz4":     {Method: LZ4},
		"lz4:9":   {Method: LZ4, Level: 9},
		"zstd:22": {Method: Zstd, Level: 22},
	}
	for s, want := range tests {
		got, err := ParseCompression(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%s: String gives %s", s, got)
		}
	}
}

func TestParseCompressionErrors(t *testing.T) {
	tests := map[string]string{
		"":         `compression: unknown method "", want none, gzip, zstd, xz or lz4`,
		"lz5":      `compression: unknown method "lz5", want none, gzip, zstd, xz or lz4`,
		"GZIP":     `compression: unknown method "GZIP", want none, gzip, zstd, xz or lz4`,
		"none:1":   "compression: none has no levels",
		"gzip:":    `compression: bad level "" in "gzip:"`,
		"gzip:0":   `compression: bad level "0" in "gzip:0"`,
		"gzip:10":  "compression: gzip has levels 1 to 9, not 10",
		"gzip:-1":  "compression: gzip has levels 1 to 9, not -1",
		"zstd:23":  "compression: zstd has levels 1 to 22, not 23",
		"zstd:max": `compression: bad level "max" in "zstd:max"`,
		"xz:0":     `compression: bad level "0" in "xz:0"`,
		"xz:10":    "compression: xz has levels 1 to 9, not 10",
		"lz4:10":   "compression: lz4 has levels 1 to 9, not 10",
		"lzma":     "compression: lzma can only be read, want none, gzip, zstd, xz or lz4",
		"bzip2:9":  "compression: bzip2 can only be read, want none, gzip, zstd, xz or lz4",
		"lzo":      "compression: lzo can only be read, want none, gzip, zstd, xz or lz4",
		"zstd:1:2": `compression: bad level "1:2" in "zstd:1:2"`,
	}
	for s, want := range tests {
		got, err := ParseCompression(s)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, %v, want %s", s, got, err, want)
		}
	}
}

func TestBadCompressionGivenByHand(t *testing.T) {
	for _, c := range []Compression{{Method: 9}, {Method: LZMA}, {Level: 1}, {Method: Gzip, Level: 10}, {Method: Zstd, Level: -1}} {
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, new(Tree), Options{Compression: c}); err == nil || b.Len() != 0 {
			t.Errorf("%v: error %v, %d bytes written", c, err, b.Len())
		}
	}
	if got := (Compression{Method: 9}).String(); got != "Method(9)" {
		t.Errorf("got %s", got)
	}
}

// words returns n bytes that compress about as well as programs do.
func words(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	vocabulary := make([]string, 3000)
	for i := range vocabulary {
		vocabulary[i] = fmt.Sprintf("%x", rnd.Uint64()>>(rnd.Uint64()%48))
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(vocabulary[rnd.IntN(len(vocabulary))])
		b.WriteByte(byte(rnd.IntN(8)))
	}
	return b.Bytes()[:n]
}

var everyCompression = []string{"none", "gzip:1", "gzip", "gzip:9", "zstd:1", "zstd", "zstd:7", "zstd:19", "xz:1", "xz", "xz:9", "lz4", "lz4:3", "lz4:9"}

func compression(t testing.TB, s string) Compression {
	t.Helper()
	c, err := ParseCompression(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compress(t testing.TB, c Compression, data []byte, chunk int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.writer(&b, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(chunk, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The same input gives the same bytes for every number of processors, and
// however it comes in.
func TestCompressionIsReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	large := words(zstdWindow + 100_000)
	for _, s := range everyCompression {
		c, data := compression(t, s), large[:300_000]
		if s == "zstd" {
			data = large
		}
		runtime.GOMAXPROCS(1)
		want := compress(t, c, data, len(data))
		for _, procs := range []int{2, 9} {
			runtime.GOMAXPROCS(procs)
			if got := compress(t, c, data, 1000*procs+1); !bytes.Equal(got, want) {
				t.Errorf("%s: other bytes with %d processors", s, procs)
			}
		}
		if c.Method == None {
			continue
		}
		back, rest, err := unpack(c.Method, want)
		if err != nil || !bytes.Equal(back, data) || len(rest) > 0 {
			t.Errorf("%s: does not decompress to what it was: %v", s, err)
		}
	}
}

// The kernel allocates the window a zstd frame declares and needs the size to
// do with less; a second frame would have to begin between two entries.
func TestZstdFrame(t *testing.T) {
	for _, tt := range []struct {
		size   int
		levels []int
	}{
		{256, []int{1, 3, 7, 22}},
		{100_000, []int{1, 3, 7, 22}},
		{200_000, []int{1, 3, 7, 22}},
		{zstdWindow + 1, []int{1}},
	} {
		size, data := tt.size, words(tt.size)
		for _, level := range tt.levels {
			z := compress(t, Compression{Zstd, level}, data, 1<<20)
			var h zstd.Header
			if err := h.Decode(z); err != nil {
				t.Fatal(err)
			}
			if !h.HasFCS || h.FrameContentSize != uint64(size) || h.Skippable {
				t.Errorf("%d bytes at level %d: header %+v", size, level, h)
			}
			if window := h.WindowSize; window > 8<<20 || h.SingleSegment && size > 8<<20 {
				t.Errorf("%d bytes at level %d: window %d", size, level, window)
			}
		}
	}
}

// A gzip header without name, time or flags (RFC 1952): the bytes tell nothing
// of when and where.
func TestGzipHeader(t *testing.T) {
	z := compress(t, Compression{Method: Gzip}, words(100), 100)
	if want := "\x1f\x8b\x08\x00\x00\x00\x00\x00"; !strings.HasPrefix(string(z), want) {
		t.Errorf("header %x, want %x", z[:10], want)
	}
}

// The reference decompressors take the streams for one frame, or member, each.
func TestReferenceDecompressors(t *testing.T) {
	data := words(1 << 20)
	for _, s := range everyCompression[1:] {
		c := compression(t, s)
		tool := methods[c.Method].name
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("no %s here", tool)
			continue
		}
		z := compress(t, c, data, 1<<16)
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(z)
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%s -dc of %s: %d bytes, %v", tool, s, len(out), err)
		}
		if second := bytes.Index(z[4:], z[:4]); c.Method == Zstd && second >= 0 {
			t.Errorf("%s: maybe another frame at %d", s, second+4)
		}
	}
}
