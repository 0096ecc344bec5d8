package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// raw spells out an entry: 13 fields, name and data with their padding.
func raw(magic string, fields [13]uint32, name, data string) string {
	var b strings.Builder
	b.WriteString(magic)
	for _, f := range fields {
		fmt.Fprintf(&b, "%08x", f)
	}
	b.WriteString(name)
	b.Write(make([]byte, -b.Len()&3))
	b.WriteString(data)
	b.Write(make([]byte, -b.Len()&3))
	return b.String()
}

// file is a plain entry; the fields are ino, mode, uid, gid, nlink, mtime,
// size, four device numbers, name size and check.
func file(name, data string) string {
	return raw("070701", [13]uint32{1, 0o100644, 0, 0, 1, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name)) + 1, 0}, name+"\x00", data)
}

var end = file("TRAILER!!!", "")

// list reads an archive and puts it into words, "name=data" for each entry.
func list(r io.Reader) (string, error) {
	var all []string
	rd := NewReader(r)
	for {
		h, err := rd.Next()
		if err == io.EOF {
			return strings.Join(all, " "), nil
		}
		if err != nil {
			return "", err
		}
		data, err := io.ReadAll(rd)
		if err != nil {
			return "", err
		}
		all = append(all, h.Name+"="+string(data))
	}
}

func TestReader(t *testing.T) {
	sum := uint32('a' + 'b' + 'c')
	tests := map[string]struct{ archive, want string }{
		"empty":             {end, ""},
		"files":             {file("a", "1") + file("bb", "12345678") + file("c", "") + end, "a=1 bb=12345678 c="},
		"upper-case digits": {strings.ToUpper(file("A", strings.Repeat("X", 171))) + end, "A=" + strings.Repeat("X", 171)},
		"name padded":       {raw("070701", [13]uint32{6: 2, 11: 8}, "ab\x00\x00\x00\x00\x00\x00", "xy") + end, "ab=xy"},
		"trailer padded":    {file("a", "") + raw("070701", [13]uint32{11: 16}, "TRAILER!!!\x00\x00\x00\x00\x00\x00", ""), "a="},
		"check of 070701":   {raw("070701", [13]uint32{6: 3, 11: 2, 12: 99}, "a\x00", "abc") + end, "a=abc"},
		"checksum":          {raw("070702", [13]uint32{6: 3, 11: 2, 12: sum}, "a\x00", "abc") + end, "a=abc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(tt.archive),
				iotest.OneByteReader(strings.NewReader(tt.archive)),
				iotest.DataErrReader(strings.NewReader(tt.archive)),
			} {
				if got, err := list(r); err != nil || got != tt.want {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	tests := map[string]struct{ archive, want string }{
		"text":         {strings.Repeat("text ", 50), `image: offset 0: "text t" begins neither an archive nor compressed data`},
		"old format":   {"070707" + strings.Repeat("0", 200), `image: offset 0: bad magic "070707"`},
		"not hex":      {strings.Replace(file("a", "1"), "000081a4", "-0000005", 1) + end, `image: offset 0: field "-0000005" is not a hexadecimal number`},
		"name open":    {raw("070701", [13]uint32{11: 2}, "ab", "") + end, `image: offset 0: the name "ab" does not end in a zero byte`},
		"data cut off": {file("a", "12345678")[:116], "image: offset 0: a: the archive is cut off"},
		"bad checksum": {raw("070702", [13]uint32{1: 0o100644, 6: 3, 11: 2, 12: 1}, "a\x00", "abc") + end, "image: offset 0: a: the sum of the data is 00000126, the header says 00000001"},
		"shifted":      {file("a", "1")[:113] + end, `image: offset 116: "701000" begins neither an archive nor compressed data`},
	}
	for name, tt := range tests {
		got, err := list(strings.NewReader(tt.archive))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, tt.want)
		}
	}
}

// An archive cut off inside an entry is an error, skipped over or read.
func TestReaderCutOff(t *testing.T) {
	whole := file("a", "12345") + file("b/c", "1") + raw("070702", [13]uint32{6: 3, 11: 2, 12: 0x126}, "a\x00", "abc") + end
	for n := range len(whole) {
		if n == 0 || n == 120 || n == 240 || n == 356 { // between entries
			continue
		}
		if _, err := list(strings.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d: %v", n, err)
		}
		r := NewReader(strings.NewReader(whole[:n]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d, data skipped: %v", n, err)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("cut off at %d: the second error is %v", n, again)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("cut off at %d: Read returns %v after the error", n, again)
		}
	}
}

// A header may claim 4 GiB; memory goes only to what is there.
func TestReaderBelievesNoSize(t *testing.T) {
	claim := raw("070701", [13]uint32{6: 0xffffffff, 11: 4096}, strings.Repeat("a", 4095)+"\x00", "")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := NewReader(strings.NewReader(claim))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
		t.Errorf("%d bytes were allocated", got)
	}
}

func TestReaderPassesOnErrors(t *testing.T) {
	_, err := list(io.MultiReader(strings.NewReader(file("a", "12345678")[:114]), iotest.ErrReader(os.ErrPermission)))
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// FuzzReader: a next without error has an entry and one with an error has not;
// and what newcWriter can write of it reads and writes again the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte(file("a", "1") + file("b/c", "12345") + end))
	f.Add([]byte(raw("070702", [13]uint32{1, 0o100755, 1, 2, 3, 4, 3, 0, 0, 7, 8, 4, 0x126}, "ab\x00\x00", "abc") + end))
	f.Add([]byte(raw("070701", [13]uint32{2, 0o020600, 0, 0, 1, 9, 0, 0, 0, 5, 1, 12, 0}, "dev/console\x00", "") + end))
	f.Add([]byte(file("a", "1")[:113]))
	f.Fuzz(func(t *testing.T, archive []byte) {
		var first []item
		r := NewReader(bytes.NewReader(archive))
		for {
			h, err := r.Next()
			if (err == nil) != (h != nil) {
				t.Fatalf("next returns %v, %v", h, err)
			}
			if err != nil {
				break
			}
			data, err := io.ReadAll(r)
			if plain := r.Segments()[h.Segment].Method == None; plain && len(data) > len(archive) {
				t.Fatalf("%d bytes of data from %d bytes of archive", len(data), len(archive))
			}
			if err == nil && len(data) != int(h.Size) {
				t.Fatalf("%d bytes of data, the header says %d", len(data), h.Size)
			}
			if named := h.NameSize <= maxName && int(h.NameSize) > len(h.Name); err == nil && named && writable(asWritten(h)) {
				first = append(first, item{asWritten(h), string(data)})
			}
		}
		one := rewrite(t, first)
		second := items(t, one)
		if fmt.Sprint(first) != fmt.Sprint(second) {
			t.Fatalf("read %v, written and read again %v", first, second)
		}
		if two := rewrite(t, second); !bytes.Equal(one, two) {
			t.Fatalf("written %q, then %q", one, two)
		}
	})
}

// writable says whether newcWriter takes h. TestHeaderNotRepresentable holds
// the same list.
func writable(h header) bool {
	return h.name != trailer && !h.crc && h.check == 0 && h.devMajor == 0 && h.devMinor == 0 &&
		h.ino != 0 && h.nlink != 0 && h.mode&^0o777 != 0
}

func rewrite(t *testing.T, all []item) []byte {
	t.Helper()
	var b bytes.Buffer
	n := newNewcWriter(&b)
	for _, it := range all {
		if err := n.next(it.header); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Write([]byte(it.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
