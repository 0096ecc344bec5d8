package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// entry is one with every field given; those of file are ino, mode, uid, gid,
// nlink, mtime, size, four device numbers, name size and check.
func entry(mode uint32, name, data string) string {
	return raw("070701", [13]uint32{0, mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name)) + 1, 0}, name+"\x00", data)
}

// linkedEntry is one of n names of the file ino.
func linkedEntry(ino, n uint32, mode uint32, name, data string) string {
	return raw("070701", [13]uint32{ino, mode, 0, 0, n, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name)) + 1, 0}, name+"\x00", data)
}

func packed(t testing.TB, method, data string) string {
	return string(compress(t, compression(t, method), []byte(data), len(data)))
}

// told puts an image into words: "N@OFFSET name=data" for each entry, N being its
// segment.
func told(r io.Reader) (string, []Segment, error) {
	rd := NewReader(r)
	var all []string
	for {
		h, err := rd.Next()
		if err == io.EOF {
			return strings.Join(all, " "), rd.Segments(), nil
		}
		if err != nil {
			return strings.Join(all, " "), rd.Segments(), err
		}
		data, err := io.ReadAll(rd)
		if err != nil {
			return strings.Join(all, " "), rd.Segments(), err
		}
		all = append(all, fmt.Sprintf("%d@%d %s=%s", h.Segment, h.Offset, h.Name, data))
	}
}

func TestImageReader(t *testing.T) {
	a, b := file("a", "1"), file("b", "2") // of 116 bytes
	end124 := len(end)
	gz := packed(t, "gzip", a+end)
	tests := map[string]struct {
		image, want string
		segments    []Segment
	}{
		"plain":           {a + b + end, "0@0 a=1 0@116 b=2", []Segment{{None, 0, int64(232 + end124), int64(232 + end124), 0, 2}}},
		"without its end": {a, "0@0 a=1", []Segment{{None, 0, 116, 116, 0, 1}}},
		"two plain": {a + end + strings.Repeat("\x00", 8) + b + end, fmt.Sprintf("0@0 a=1 1@%d b=2", 124+end124),
			[]Segment{{None, 0, int64(116 + end124), int64(116 + end124), 0, 1}, {None, int64(124 + end124), int64(116 + end124), int64(116 + end124), 0, 1}}},
		"compressed":              {gz, "0@0 a=1", []Segment{{Gzip, 0, int64(len(gz)), int64(116 + end124), 1, 1}}},
		"plain, then gzip":        {b + end + gz, "0@0 b=2 1@0 a=1", nil},
		"gzip, then plain":        {gz + strings.Repeat("\x00", -len(gz)&3) + b + end, fmt.Sprintf("0@0 a=1 1@%d b=2", len(gz)+(-len(gz)&3)), nil},
		"frames of one segment":   {packed(t, "gzip", a) + packed(t, "gzip", b+end), "0@0 a=1 0@116 b=2", nil},
		"two archives compressed": {packed(t, "gzip", a+end+b+end), fmt.Sprintf("0@0 a=1 0@%d b=2", 116+end124), nil},
		"zeros between entries":   {a + "\x00\x00\x00\x00" + b + end, "0@0 a=1 0@120 b=2", nil},
		"zeros in front":          {"\x00\x00\x00\x00" + a + end, "0@4 a=1", nil},
		"nothing":                 {"", "", nil},
		"an entry the kernel passes over": {raw("070701", [13]uint32{1: 0o100644, 6: 2, 11: 5000}, strings.Repeat("x", 5000), "yz") + b + end,
			"0@0 =yz 0@5116 b=2", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.image), iotest.OneByteReader(strings.NewReader(tt.image))} {
				got, segments, err := told(r)
				if err != nil || got != tt.want {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
				if tt.segments != nil && !slices.Equal(segments, tt.segments) {
					t.Errorf("segments %+v, want %+v", segments, tt.segments)
				}
			}
		})
	}
}

// What the kernel says (init/initramfs.c), where it says something.
func TestImageReaderStops(t *testing.T) {
	a := file("a", "1")
	gz := packed(t, "gzip", a+end)
	tests := map[string]struct{ image, text, kernel string }{
		"text":                  {"text and more text", `image: offset 0: "text a" begins neither an archive nor compressed data`, "invalid magic at start of compressed archive"},
		"plain at odd offset":   {gz + strings.Repeat("\x00", 1+(-len(gz)&3)) + a + end, "a plain archive must begin at a multiple of 4", "invalid magic at start of compressed archive"},
		"odd padding":           {a + "\x00" + a, "image: offset 117: the zero bytes before it do not end at a multiple of 4", "broken padding"},
		"junk after compressed": {packed(t, "gzip", a+"junk"), "image: segment 1, offset 116 of its decompressed bytes: there is something else than an entry", "junk within compressed archive"},
		"junk after plain":      {a + "junk and more", `image: offset 116: "junk a" begins`, "invalid magic at start of compressed archive"},
		"name without end":      {raw("070701", [13]uint32{1: 0o100644, 11: 2}, "ab", ""), "does not end in a zero byte", "malformed archive"},
		"wrong sum":             {raw("070702", [13]uint32{1: 0o100644, 6: 3, 11: 2, 12: 1}, "a\x00", "abc") + end, "a: the sum of the data is 00000126, the header says 00000001", "bad data checksum"},
		"wrong sum, no data":    {raw("070702", [13]uint32{1: 0o100644, 11: 2, 12: 1}, "a\x00", "") + end, "the sum of the data is 00000000", "bad data checksum"},
		"lz4 frame":             {"\x04\x22\x4d\x18xxxx", "lz4's frame format", "invalid magic at start of compressed archive"},
	}
	for name, tt := range tests {
		_, _, err := told(strings.NewReader(tt.image))
		var stop *StopError
		if !errors.As(err, &stop) || !strings.Contains(err.Error(), tt.text) || stop.Kernel != tt.kernel {
			t.Errorf("%s: got %v (%+v), want %s, %s", name, err, stop, tt.text, tt.kernel)
		}
	}
}

// An image that is cut off anywhere but between entries is an error.
func TestImageReaderCutOff(t *testing.T) {
	a, b := file("a", "12345"), file("b/c", "1")
	for _, method := range []string{"none", "gzip", "zstd"} {
		whole := packed(t, method, a+b+end)
		for n := 1; n < len(whole); n++ {
			_, _, err := told(strings.NewReader(whole[:n]))
			if method == "none" && (n == len(a) || n == len(a+b)) || method == "lz4" && n >= len(whole)-8 {
				continue
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) && n > 1 {
				t.Errorf("%s cut off at %d of %d: %v", method, n, len(whole), err)
			}
		}
	}
}

// spoolFile is a spool for a test.
func spoolFile(t testing.TB) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// shown puts a tree into words.
func shown(t testing.TB, tree *Tree) string {
	var all []string
	for e := range tree.All() {
		s := e.Path
		switch {
		case e.Mode.IsDir():
			s += "/"
		case e.Mode.Type() == fs.ModeSymlink:
			s += "->" + e.Target
		case e.Mode.Type() == 0 && e.Size > 0:
			r, err := e.Open()
			must(t, err)
			b, err := io.ReadAll(r)
			must(t, err, r.Close())
			s += "=" + string(b)
		}
		if e.Link != 0 {
			s += fmt.Sprintf("#%d", e.Link)
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// What an image unpacks to, by the rules of init/initramfs.c.
func TestReadTree(t *testing.T) {
	const d, l, f = 0o40755, 0o120777, 0o100644
	dir := func(name string) string { return entry(d, name, "") }
	link := func(name, to string) string { return entry(l, name, to) }
	tests := map[string]struct{ image, want, problems string }{
		"last one wins":         {entry(f, "a", "long") + entry(f, "a", "1"), "./ a=1", ""},
		"replaced by nothing":   {entry(f, "a", "long") + entry(f, "a", ""), "./ a", ""},
		"names":                 {dir("./x/") + entry(f, "/x/a", "1") + entry(f, "x//b", "2"), "./ x/ x/a=1 x/b=2", ""},
		"through a link":        {dir("usr") + dir("usr/lib") + link("lib", "usr/lib") + entry(f, "lib/a", "1"), "./ lib->usr/lib usr/ usr/lib/ usr/lib/a=1", ""},
		"through absolute":      {dir("usr") + dir("usr/lib") + link("lib", "/usr/lib") + entry(f, "lib/a", "1"), "./ lib->/usr/lib usr/ usr/lib/ usr/lib/a=1", ""},
		"link out":              {link("out", "../../etc") + entry(f, "out/passwd", "1"), "./ etc/ etc/passwd=1 out->../../etc", ""},
		"dot-dot":               {entry(f, "../../a", "1"), "./ a=1", ""},
		"directory over link":   {dir("d") + link("l", "d") + dir("l") + entry(f, "l/a", "1"), "./ d/ l/ l/a=1", ""},
		"file over link":        {entry(f, "a", "1") + link("l", "a") + entry(f, "l", "2"), "./ a=1 l=2", ""},
		"file over full dir":    {dir("d") + entry(f, "d/a", "1") + entry(f, "d", "2"), "./ d/ d/a=1", "dropped d"},
		"file over empty dir":   {dir("d") + entry(f, "d", "2"), "./ d=2", ""},
		"hard link, last data":  {linkedEntry(7, 2, f, "a", "") + linkedEntry(7, 2, f, "b", "x"), "./ a=x#1 b=x#1", ""},
		"hard link, first data": {linkedEntry(7, 2, f, "a", "x") + linkedEntry(7, 2, f, "b", ""), "./ a=x#1 b=x#1", ""},
		"hard link, all data":   {linkedEntry(7, 2, f, "a", "x") + linkedEntry(7, 2, f, "b", "y"), "./ a=y#1 b=y#1", ""},
		"links of two archives": {linkedEntry(7, 2, f, "a", "x") + end + linkedEntry(7, 2, f, "b", "y"), "./ a=x b=y", ""},
		"link of another type":  {linkedEntry(7, 2, f, "a", "x") + linkedEntry(7, 2, 0o10644, "b", ""), "./ a=x b", ""},
		"data on a directory":   {entry(d, "a", "x") + entry(f, "b", "y"), "./ b=y", "dropped a"},
		"no type":               {entry(0o644, "a", "x"), "./", "dropped a"},
		"parent is a file":      {entry(f, "a", "x") + entry(f, "a/b", "y"), "./ a=x", "dropped a/b"},
		"loop":                  {link("a", "b") + link("b", "a") + entry(f, "a/x", "y"), "./ a->b b->a", "dropped a/x"},
		"empty link":            {entry(l, "a", "") + entry(f, "b", "x"), "./ b=x", "dropped a"},
		"through a slash":       {dir("d") + link("l", "d") + dir("l/") + entry(f, "l/a", "1") + entry(f, "l/", "2"), "./ d/ d/a=1 l->d", "dropped l/"},
		"slash behind a file":   {entry(f, "a", "1") + dir("a/"), "./ a=1", "dropped a/"},
		"large device":          {raw("070701", [13]uint32{1: 0o20600, 9: 4097, 10: 3, 11: 2}, "a\x00", ""), "./ a", ""},
		"socket":                {entry(0o140755, "s", ""), "./", "socket s"},
		"parent made":           {entry(f, "a/b/c", "x"), "./ a/ a/b/ a/b/c=x", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree, problems, err := ReadTree(strings.NewReader(tt.image+end), spoolFile(t))
			must(t, err)
			if got := shown(t, tree); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var all []string
			for _, p := range problems {
				all = append(all, p.Rule+" "+p.Path)
			}
			if got := strings.Join(all, ", "); got != tt.problems {
				t.Errorf("problems %s, want %s", got, tt.problems)
			}
		})
	}
}

// An image that we wrote reads back to the tree it was made from, and that makes
// the same image.
func TestReadTreeRoundTrip(t *testing.T) {
	tree := sample(t)
	for _, c := range everyCompression {
		o := Options{Compression: compression(t, c), ModTime: 7}
		image := imageOf(t, tree, o)
		back, problems, err := ReadTree(bytes.NewReader(image), spoolFile(t))
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		if again := imageOf(t, back, o); !bytes.Equal(again, image) {
			t.Errorf("%s: another image", c)
		}
	}
}
