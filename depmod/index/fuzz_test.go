package index

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// FuzzOpen: whatever Open takes can be walked, and searched for what it holds.
func FuzzOpen(f *testing.F) {
	f.Add(drawing(f, PreOrder))
	f.Add(drawing(f, PostOrder))
	f.Add([]byte("\xb0\x07\xf4\x57\x00\x02\x00\x01\x00\x00\x00\x0c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ix, err := Open(data)
		if (err == nil) != (ix != nil) {
			t.Fatalf("index %v with error %v", ix, err)
		}
		if err != nil {
			return
		}
		size := 0
		for i, p := range all(ix) {
			size += len(p.value.Text)
			if i < 20 && !slices.Contains(ix.Lookup(p.key), p.value) {
				t.Fatalf("%q is there but not found", p.key)
			}
			if i < 20 {
				checkMatch(t, ix, plain(p.key))
			}
		}
		if size > len(data) {
			t.Fatalf("%d bytes of values from %d bytes", size, len(data))
		}
	})
}

// FuzzBuild: what is added can be read, in both layouts, and makes the same
// file again.
func FuzzBuild(f *testing.F) {
	f.Add("ab x\nabcd y\nq v\nq w\n\n z", "q")
	f.Add("pci:v*d[0-9] a\npci:v*d[!0-9] b\nx\\*y c", "pci:v1dx")
	f.Fuzz(func(t *testing.T, lines, text string) {
		var b Builder
		for i, line := range strings.Split(lines, "\n") {
			key, value, _ := strings.Cut(line, " ")
			if b.Add(key, value, uint32(i%4)) != nil {
				return
			}
		}
		data := write(t, &b)
		ix := open(t, data)
		if n := len(all(ix)); n != b.Len() {
			t.Fatalf("%d values of %d", n, b.Len())
		}
		if !bytes.Equal(rebuild(t, ix, PreOrder), data) {
			t.Fatal("another file")
		}
		if post := open(t, rebuild(t, ix, PostOrder)); !slices.Equal(all(post), all(ix)) {
			t.Fatal("the layouts differ in content")
		}
		checkMatch(t, ix, plain(text))
	})
}
