package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type pair struct {
	key   string
	value Value
}

func add(t testing.TB, b *Builder, key, value string, priority uint32) {
	t.Helper()
	if err := b.Add(key, value, priority); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, b *Builder) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := b.WriteTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(out.Len()) {
		t.Fatalf("WriteTo says %d bytes, wrote %d", n, out.Len())
	}
	return out.Bytes()
}

func open(t testing.TB, data []byte) *Index {
	t.Helper()
	ix, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func all(ix *Index) (pairs []pair) {
	for key, value := range ix.All() {
		pairs = append(pairs, pair{key, value})
	}
	return pairs
}

// rebuild makes an index of all that one holds.
func rebuild(t testing.TB, ix *Index, layout Layout) []byte {
	b := Builder{Layout: layout}
	for _, p := range slices.Backward(all(ix)) {
		add(t, &b, p.key, p.value.Text, p.value.Priority)
	}
	return write(t, &b)
}

// unhex reads hex with blanks; a word 'x' in quotes is text.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for word := range strings.FieldsSeq(text) {
		if s, ok := strings.CutPrefix(word, "'"); ok {
			out = append(out, strings.TrimSuffix(s, "'")...)
			continue
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// Both files were drawn by hand after the description of the format. They hold
// ab: x 1, abcd: y 2, abce: z 0, q: v 5 and w 5, w added first.
var drawn = map[Layout]string{
	PostOrder: `
		B007F457 00020001 2000004C
		00000001 00000002 'y' 00                                            # 12: abcd
		00000001 00000000 'z' 00                                            # 22: abce
		'd' 'e' 4000000C 40000016                                           # 32: abc
		'b' 00  'c' 'c' 20000020  00000001 00000001 'x' 00                  # 42: ab
		00000002 00000005 'v' 00 00000005 'w' 00                            # 60: q
		'a' 'q' E000002A                                                    # 76: root
		        00000000 00000000 00000000 00000000 00000000
		        00000000 00000000 00000000 00000000 00000000
		        00000000 00000000 00000000 00000000 00000000
		        4000003C`,
	PreOrder: `
		B007F457 00020001 2000000C
		'a' 'q' E0000052                                                    # 12: root
		        00000000 00000000 00000000 00000000 00000000
		        00000000 00000000 00000000 00000000 00000000
		        00000000 00000000 00000000 00000000 00000000
		        40000082
		'b' 00  'c' 'c' 20000064  00000001 00000001 'x' 00                  # 82: ab
		'd' 'e' 4000006E 40000078                                           # 100: abc
		00000001 00000002 'y' 00                                            # 110: abcd
		00000001 00000000 'z' 00                                            # 120: abce
		00000002 00000005 'v' 00 00000005 'w' 00                            # 130: q`,
}

func drawing(t testing.TB, layout Layout) []byte {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(drawn[layout]) {
		line, _, _ = strings.Cut(line, "#")
		text.WriteString(line + " ")
	}
	return unhex(t, text.String())
}

var drawnPairs = []pair{
	{"ab", Value{"x", 1}}, {"abcd", Value{"y", 2}}, {"abce", Value{"z", 0}}, {"q", Value{"v", 5}}, {"q", Value{"w", 5}},
}

func TestDrawnFiles(t *testing.T) {
	for layout := range drawn {
		want := drawing(t, layout)
		b := Builder{Layout: layout}
		for _, i := range []int{4, 1, 0, 3, 2} { // w before v
			add(t, &b, drawnPairs[i].key, drawnPairs[i].value.Text, drawnPairs[i].value.Priority)
		}
		if got := write(t, &b); !bytes.Equal(got, want) {
			t.Errorf("layout %d: wrote\n%x, want\n%x", layout, got, want)
		}
		if got := all(open(t, want)); !slices.Equal(got, drawnPairs) {
			t.Errorf("layout %d: read %v, want %v", layout, got, drawnPairs)
		}
	}
}

func TestEmptyIndex(t *testing.T) {
	want := unhex(t, "B007F457 00020001 0000000C")
	for _, layout := range []Layout{PreOrder, PostOrder} {
		if got := write(t, &Builder{Layout: layout}); !bytes.Equal(got, want) {
			t.Errorf("layout %d: %x, want %x", layout, got, want)
		}
	}
	ix := open(t, want)
	if got := all(ix); got != nil {
		t.Errorf("it holds %v", got)
	}
	if got := append(ix.Lookup(""), ix.Match("x")...); got != nil {
		t.Errorf("it finds %v", got)
	}
}

func TestLookup(t *testing.T) {
	ix := open(t, drawing(t, PreOrder))
	for key, want := range map[string][]Value{
		"ab": {{"x", 1}}, "abcd": {{"y", 2}}, "q": {{"v", 5}, {"w", 5}},
		"": nil, "a": nil, "abc": nil, "abcf": nil, "abcdd": nil, "abb": nil, "A": nil, "z": nil, "qq": nil, "\xff": nil,
	} {
		if got := ix.Lookup(key); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
	for range ix.All() {
		break // the walk ends when asked to
	}
}

// The place among values of one key: lower priority first, then the last added.
func TestValueOrder(t *testing.T) {
	var b Builder
	for i, priority := range []uint32{7, 3, 7, 3, 1<<32 - 1, 0} {
		add(t, &b, "key", fmt.Sprint(i), priority)
	}
	want := []Value{{"5", 0}, {"3", 3}, {"1", 3}, {"2", 7}, {"0", 7}, {"4", 1<<32 - 1}}
	if got := open(t, write(t, &b)).Lookup("key"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The order of adding is of no matter as long as no key has equal priorities.
func TestInsertionOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pairs := randomPairs(random, 500)
	var want []byte
	for round := range 5 {
		var b Builder
		for _, p := range pairs {
			add(t, &b, p.key, p.value.Text, p.value.Priority)
		}
		got := write(t, &b)
		if round == 0 {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: another file", round)
		}
		random.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	}
}

// randomPairs makes keys that share much, each value with a priority of its own.
func randomPairs(random *rand.Rand, n int) []pair {
	pairs := make([]pair, n)
	for i := range pairs {
		key := make([]byte, random.IntN(9))
		for j := range key {
			key[j] = "ab*?c["[random.IntN(6)]
		}
		pairs[i] = pair{string(key), Value{fmt.Sprintf("m%d", i), uint32(i)}}
	}
	return pairs
}

func TestWriteReadWrite(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		var b Builder
		for _, p := range randomPairs(random, n*n) {
			add(t, &b, p.key, p.value.Text, p.value.Priority%7)
		}
		first := write(t, &b)
		ix := open(t, first)
		if again := rebuild(t, ix, PreOrder); !bytes.Equal(again, first) {
			t.Fatalf("%d entries: another file", b.Len())
		}
		post := open(t, rebuild(t, ix, PostOrder))
		if !slices.Equal(all(post), all(ix)) {
			t.Fatalf("%d entries: the layouts differ in content", b.Len())
		}
	}
}

func TestRefusedEntries(t *testing.T) {
	long := strings.Repeat("k", MaxKeyLen)
	for _, c := range []struct{ name, key, value, want string }{
		{"latin1 key", "caf\xe9", "m", `index: character 0xe9 at byte 3 of "caf\xe9": only 7-bit characters other than NUL can be in an index`},
		{"utf8 value", "k", "é", `index: character 0xc3 at byte 0 of "é": only 7-bit characters other than NUL can be in an index`},
		{"nul", "a\x00b", "m", `index: character 0x00 at byte 1 of "a\x00b": only 7-bit characters other than NUL can be in an index`},
		{"long key", long + "k", "m", `index: key "` + long[:32] + `"… has 8193 bytes, more than 8192`},
	} {
		var b Builder
		err := b.Add(c.key, c.value, 0)
		if err == nil || err.Error() != c.want || b.Len() != 0 {
			t.Errorf("%s: %v with %d entries, want %s", c.name, err, b.Len(), c.want)
		}
		var textErr *TextError
		if errors.As(err, &textErr) != (c.name != "long key") {
			t.Errorf("%s: error of type %T", c.name, err)
		}
	}
	var b Builder
	add(t, &b, long, "m\x7f", 0)
	if got := open(t, write(t, &b)).Lookup(long); len(got) != 1 {
		t.Errorf("the longest key: %v", got)
	}
}

func TestTooLarge(t *testing.T) {
	var b Builder
	value := strings.Repeat("x", 1<<20)
	for range 256 {
		add(t, &b, "k", value, 0)
	}
	n, err := b.WriteTo(failingWriter{})
	const want = "index: 268436758 bytes: offsets of 28 bits reach 268435455"
	if err == nil || err.Error() != want || n != 0 {
		t.Errorf("%d bytes and %v, want %s", n, err, want)
	}
}

type failingWriter struct{}

var errFull = errors.New("full")

func (failingWriter) Write(b []byte) (int, error) { return 1, errFull }

func TestWriteError(t *testing.T) {
	if n, err := new(Builder).WriteTo(failingWriter{}); n != 1 || err != errFull {
		t.Errorf("%d bytes and %v", n, err)
	}
}

func TestBrokenFiles(t *testing.T) {
	const head = "B007F457 00020001 "
	chain := head + "2000000C" + strings.Repeat(" 'aa' 2000%04x", MaxKeyLen+1)
	offsets := make([]any, MaxKeyLen+1)
	for i := range offsets {
		offsets[i] = 12 + 6*(i+1)
	}
	double := head + "2000000C"
	for i := range 40 {
		double += fmt.Sprintf(" 'ab' 2000%04[1]x 2000%04[1]x", 12+10*(i+1))
	}
	double += " 'aa' 00000000"
	for _, c := range []struct{ name, hex, want string }{
		{"nothing", "", "index: 0 bytes are too few for a header"},
		{"cut header", "B007F457 00020001 00", "index: 9 bytes are too few for a header"},
		{"wrong magic", "B007F458 00020001 0000000C", "index: magic is b007f458, not b007f457"},
		{"version 3", "B007F457 00030001 0000000C", "index: version 3.1, known is 2"},
		{"no root", head + "00000000", "index: node at byte 0: outside the file"},
		{"root in the header", head + "40000004", "index: node at byte 4: outside the file"},
		{"root behind the file", head + "0000000D", "index: node at byte 13: outside the file"},
		{"prefix without end", head + "8000000C 'abc'", "index: node at byte 12: the string at byte 12 does not end"},
		{"children backwards", head + "2000000C 'ba' 00000000 00000000", "index: node at byte 12: children from 0x62 to 0x61"},
		{"children cut off", head + "2000000C 'ab' 00000000 000000", "index: node at byte 12: 8 bytes at byte 14 run past the end of the file"},
		{"count cut off", head + "4000000C 000000", "index: node at byte 12: 4 bytes at byte 12 run past the end of the file"},
		{"count of 4 G", head + "4000000C FFFFFFFF 00000000 'x' 00", "index: node at byte 12: a value is cut off"},
		{"value without end", head + "4000000C 00000001 00000000 'x'", "index: node at byte 12: a value is cut off"},
		{"circle", head + "2000000C 'aa' 2000000C", "index: node at byte 12: nodes overlap"},
		{"2^40 ways", double, "index: node at byte 412: nodes overlap"},
		{"key of 8193", fmt.Sprintf(chain, offsets...) + " 'aa' 00000000", "index: node at byte 49170: the key is longer than 8192 bytes"},
	} {
		ix, err := Open(unhex(t, c.hex))
		if err == nil || err.Error() != c.want || ix != nil {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}
