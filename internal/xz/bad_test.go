package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// in gives an edit of one part.
func in(part string, edit func(b []byte) []byte) func(string, []byte) []byte {
	return func(name string, b []byte) []byte {
		if name == part {
			return edit(b)
		}
		return b
	}
}

// set is an edit of one byte; negative places count from the end.
func set(part string, at int, v byte) func(string, []byte) []byte {
	return in(part, func(b []byte) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] = v
		return b
	})
}

// TestBadContainer: each file has one defect.
func TestBadContainer(t *testing.T) {
	hello := rawBlock{sizes: true, data: append(stored(1, []byte("hello")), 0), plain: []byte("hello")}
	good := stream{check: 1, blocks: []rawBlock{hello, hello}}
	with := func(edit func(string, []byte) []byte) []byte {
		s := good
		s.edit = edit
		return s.bytes()
	}
	broken := func(edit func(string, []byte) []byte) []byte {
		s := good
		s.spoil = edit
		return s.bytes()
	}
	filter := func(f ...byte) []byte {
		b := hello
		b.filter = f
		return stream{check: 1, blocks: []rawBlock{b}}.bytes()
	}
	index := func(f func(b []byte) []byte) []byte { return with(in("index", f)) }
	whole := good.bytes()
	tests := []struct {
		name string
		src  []byte
		kind error
		text string // in the error
	}{
		{"good", whole, nil, ""},
		{"unknown check", stream{check: 2, blocks: []rawBlock{hello}}.bytes(), nil, ""},
		{"empty", nil, ErrTruncated, "stream header is missing at byte 0"},
		{"only padding", make([]byte, 64), ErrFormat, "no magic at byte 0"},
		{"padding first", append(make([]byte, 4), whole...), ErrFormat, "no magic at byte 0"},
		{"gzip", []byte("\x1f\x8b\x08 and more than twelve bytes"), ErrFormat, "no magic at byte 0"},
		{"no footer magic", broken(set("magic", 0, 'Z')), ErrTruncated, "stream footer is missing"},
		{"header checksum", broken(set("flags", 3, 0)), ErrFormat, "checksum of the stream header does not match at byte 6"},
		{"header flags", with(set("flags", 0, 1)), ErrUnsupported, "stream flags 0x01 0x01 at byte 6"},
		{"header check id", with(set("flags", 1, 0x11)), ErrUnsupported, "stream flags 0x00 0x11 at byte 6"},
		{"footer checksum", func() []byte { b := bytes.Clone(whole); b[len(b)-5] ^= 1; return b }(), ErrFormat, "checksum of the stream footer"},
		{"footer flags", with(set("footer", 4, 1)), ErrUnsupported, "stream flags"},
		{"footer other check", with(set("footer", 5, 4)), ErrFormat, "other flags than the footer at byte 6"},
		{"footer small index", with(set("footer", 0, 1)), ErrFormat, "index"},
		{"footer huge index", with(set("footer", 3, 200)), ErrFormat, "tells an index of 13421772"},
		{"padding 1", append(bytes.Clone(whole), 0), ErrFormat, "stream padding of 1 bytes"},
		{"padding 7", append(bytes.Clone(whole), make([]byte, 7)...), ErrFormat, "stream padding of 7 bytes"},
		{"padding 5001", append(bytes.Clone(whole), make([]byte, 5001)...), ErrFormat, "stream padding of 5001 bytes"},
		{"padding between", append(append(bytes.Clone(whole), 0, 0), whole...), ErrFormat, "stream padding of 2 bytes"},
		{"garbage behind", append(bytes.Clone(whole), "garbage!"...), ErrTruncated, "stream footer is missing"},
		{"garbage between", append(append(bytes.Clone(whole), "garbage!"...), whole...), ErrTruncated, "stream footer is missing"},

		{"index checksum", broken(set("index", -1, 0)), ErrFormat, "checksum of the index"},
		{"index begin", with(set("index", 0, 1)), ErrFormat, "index does not begin with 0"},
		{"index padding", with(set("index", -1, 1)), ErrFormat, "index padding is not zero"},
		{"index count small", with(set("index", 1, 1)), ErrFormat, "index"},
		{"index count large", with(set("index", 1, 9)), ErrFormat, "index"},
		{"index count huge", index(func([]byte) []byte { return append(binary.AppendUvarint([]byte{0}, 1<<62), 1, 1) }), ErrFormat, "index is too short"},
		{"index other packed size", with(set("index", 2, 40)), ErrFormat, "index"},
		{"index other unpacked size", with(set("index", 3, 4)), ErrFormat, "other sizes than the index lists at byte 12"},
		{"index larger unpacked size", with(set("index", 3, 6)), ErrFormat, "other sizes than the index lists at byte 12"},
		{"index second unpacked size", with(set("index", 5, 4)), ErrFormat, "other sizes than the index lists at byte 40"},
		{"index block of 0", with(set("index", 4, 0)), ErrFormat, "block of 0 bytes"},
		{"index long number", index(func(b []byte) []byte { return pad(append([]byte{0, 0x82, 0}, b[2:]...)) }), ErrFormat, "number is longer than needed"},
		{"index endless number", index(func([]byte) []byte { return bytes.Repeat([]byte{0xff}, 12)[:11:11] }), ErrFormat, "index"},
		{"index 10 byte number", index(func([]byte) []byte { return append([]byte{0}, bytes.Repeat([]byte{0xff}, 11)...) }), ErrFormat, "longer than 63 bits"},
		{"index too long", index(func(b []byte) []byte { return append(b, 0, 0, 0, 0) }), ErrFormat, "index goes on"},
		{"index overflow", index(func(b []byte) []byte {
			huge := binary.AppendUvarint(nil, math.MaxInt64)
			return pad(slices.Concat(b[:3], huge, b[4:5], huge))
		}), ErrFormat, "more than 2^63 bytes"},
		{"index huge block", index(func([]byte) []byte { return pad(append(binary.AppendUvarint([]byte{0, 1}, math.MaxInt64), 5)) }), ErrFormat, "block of 9223372036854775807 bytes"},
		{"index misses a block", index(func(b []byte) []byte { b[1] = 1; return pad(b[:4]) }), ErrFormat, "no magic"},

		{"block header checksum", broken(set("block header", -1, 0)), ErrFormat, "checksum of the block header does not match at byte 12"},
		{"block header of 0", broken(set("block header", 0, 0)), ErrFormat, "block header begins with 0 at byte 12"},
		{"block flags", with(set("block header", 1, 0xc4)), ErrUnsupported, "block flags 0xc4 at byte 13"},
		{"block header padding", with(set("block header", -1, 1)), ErrFormat, "block header padding is not zero"},
		{"block header packed size", with(set("block header", 2, 10)), ErrFormat, "other sizes than its header tells at byte 12"},
		{"block header packed size 0", with(set("block header", 2, 0)), ErrFormat, "other sizes than its header tells at byte 12"},
		{"block header unpacked size", with(set("block header", 3, 6)), ErrFormat, "other sizes than its header tells at byte 12"},
		{"block header long number", with(in("block header", func(b []byte) []byte { return []byte{3, 0x40, 0x89, 0, 0x21, 1, 16, 0, 0, 0, 0, 0} })), ErrFormat, "number is longer than needed at byte 14"},
		{"block header too small", with(in("block header", func(b []byte) []byte { return []byte{2, 0xc0, 0x89, 0x80, 0x80, 0x80, 0x80, 0x80} })), ErrFormat, "block"},
		{"block padding", with(set("block padding", -1, 1)), ErrFormat, "block padding is not zero"},
		{"block check crc32", with(set("block check", 0, 1)), ErrFormat, "check of the block does not match what it unpacks to at byte 36"},
		{"block check crc64", stream{check: 4, blocks: []rawBlock{hello}, edit: set("block check", 7, 1)}.bytes(), ErrFormat, "check of the block"},
		{"block check sha256", stream{check: 10, blocks: []rawBlock{hello}, edit: set("block check", 31, 1)}.bytes(), ErrFormat, "check of the block"},

		{"filter delta", filter(3, 1, 0, 0x21, 1, 16), ErrUnsupported, "filter delta at byte 16"},
		{"filter x86", filter(4, 0, 0x21, 1, 16), ErrUnsupported, "filter x86 BCJ"},
		{"filter riscv", filter(0xb, 0, 0x21, 1, 16), ErrUnsupported, "filter RISC-V BCJ"},
		{"filter unknown", filter(0x80, 0x7f, 0), ErrUnsupported, "filter 0x3f80"},
		{"filters", with(set("block header", 1, 0xc1)), ErrUnsupported, "LZMA2 properties"},
		{"LZMA2 no property", filter(0x21, 0), ErrUnsupported, "LZMA2 properties"},
		{"LZMA2 properties", filter(0x21, 2, 16, 0), ErrUnsupported, "LZMA2 properties"},
		{"LZMA2 dictionary 41", filter(0x21, 1, 41), ErrUnsupported, "LZMA2 properties 0x01 0x29"},
		{"LZMA2 reserved bit", filter(0x21, 1, 0x40), ErrUnsupported, "LZMA2 properties"},
		{"LZMA2 dictionary 40", filter(0x21, 1, 40), nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkBad(t, test.src, test.kind, test.text)
		})
	}
}

// TestBadChunks: each file has one block with one defect in its LZMA2 data.
func TestBadChunks(t *testing.T) {
	e := newEncoder(0x5d)
	for _, c := range []byte("a small text") {
		e.literal(c)
	}
	e.match(12, 5)
	e.rep(0, 1)
	plain, code := e.plain, e.end()
	later := newEncoder(0x5d)
	later.plain = append(later.plain, "ab"...)
	later.match(2, 5)
	later.literal('c')
	lzma := func(control byte, size int, code []byte, props ...byte) []byte {
		return append(packed(control, size, props, code), 0)
	}
	wrong := func(symbols func(e *encoder)) []byte {
		e := newEncoder(0x5d)
		e.literal('a')
		e.literal('b')
		symbols(e)
		return lzma(0xe0, len(e.plain), e.end(), 0x5d)
	}
	first := func(b ...byte) []byte { return append(b, code[len(b):]...) }
	n := len(plain)
	tests := []struct {
		name string
		data []byte
		kind error
		text string
	}{
		{"good", lzma(0xe0, n, code, 0x5d), nil, ""},
		{"good after stored", append(stored(1, []byte("ab")), lzma(0xc0, len(later.plain)-2, later.end(), 0x5d)...), nil, ""},
		{"control 3", append(stored(3, plain), 0), ErrFormat, "control byte 0x03 at byte 24"},
		{"control 7f", append(stored(1, plain), 0x7f), ErrFormat, "control byte 0x7f"},
		{"stored without reset", append(stored(2, plain), 0), ErrFormat, "first LZMA2 chunk does not reset the dictionary at byte 24"},
		{"LZMA without reset", lzma(0xc0, n, code, 0x5d), ErrFormat, "first LZMA2 chunk does not reset"},
		{"no properties", append(stored(1, plain), lzma(0x80, n, code)...), ErrFormat, "no properties after a reset"},
		{"state but no properties", append(stored(1, plain), lzma(0xa0, n, code)...), ErrFormat, "no properties after a reset"},
		{"properties 225", lzma(0xe0, n, code, 225), ErrFormat, "LZMA properties 0xe1 at byte 29"},
		{"lc + lp 5", lzma(0xe0, n, code, 9+4), ErrFormat, "LZMA properties"},
		{"lc 8", lzma(0xe0, n, code, 8), ErrFormat, "LZMA properties"},
		{"no end", lzma(0xe0, n, code, 0x5d)[:len(code)+6], ErrFormat, ""},
		{"chunk of 4 bytes", lzma(0xe0, n, code[:4], 0x5d), ErrFormat, "LZMA chunk is too short"},
		{"first byte 1", lzma(0xe0, n, first(1), 0x5d), ErrFormat, "begins with a wrong code at byte 30"},
		{"code is all ones", lzma(0xe0, n, first(0, 255, 255, 255, 255), 0x5d), ErrFormat, "begins with a wrong code"},
		{"last byte", lzma(0xe0, n, append(code[:len(code)-1:len(code)-1], 1), 0x5d), ErrFormat, "does not end where"},
		{"one byte more", lzma(0xe0, n, append(code[:len(code):len(code)], 0), 0x5d), ErrFormat, "does not end where"},
		{"one byte less", lzma(0xe0, n, code[:len(code)-1], 0x5d), ErrFormat, "LZMA chunk is longer than its header tells"},
		{"one symbol less", lzma(0xe0, n-1, code, 0x5d), ErrFormat, "does not end where"},
		{"half a symbol less", lzma(0xe0, n-2, code, 0x5d), ErrFormat, "match is longer than its chunk"},
		{"match before the start", wrong(func(e *encoder) { e.match(3, 4) }), ErrFormat, "distance reaches back"},
		{"match far before the start", wrong(func(e *encoder) { e.match(1<<32-1, 4) }), ErrFormat, "distance reaches back"},
		{"end mark", wrong(func(e *encoder) { e.match(1<<32, 2) }), ErrFormat, "distance reaches back"},
		{"short rep first", func() []byte {
			e := newEncoder(0x5d)
			e.rep(0, 1)
			return lzma(0xe0, 1, e.end(), 0x5d)
		}(), ErrFormat, "distance reaches back"},
		{"rep before the start", wrong(func(e *encoder) { e.reps[2] = 9; e.rep(2, 3) }), ErrFormat, ""},
		{"match before the second dictionary", append(stored(1, plain), wrong(func(e *encoder) { e.match(5, 3) })...), ErrFormat, "distance reaches back"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := stream{blocks: []rawBlock{{data: test.data, plain: plain}}}
			switch {
			case test.name == "good after stored":
				s.blocks[0].plain = later.plain
			case test.kind != nil:
				s.blocks[0].plain = make([]byte, 1000) // more than there is
			}
			checkBad(t, s.bytes(), test.kind, test.text)
		})
	}
}

// TestFarMatch: a distance may be that of the dictionary, and not more.
func TestFarMatch(t *testing.T) {
	for _, test := range []struct {
		dist uint
		kind error
	}{{4096, nil}, {4097, ErrFormat}} {
		e := newEncoder(0x5d)
		for i := range 5000 {
			e.literal(byte(i * i >> 8))
		}
		e.match(test.dist, 10)
		data := append(packed(0xe0, len(e.plain), []byte{0x5d}, e.end()), 0)
		s := stream{check: 1, blocks: []rawBlock{{data: data, plain: e.plain, filter: []byte{lzma2, 1, 0}}}}
		checkBad(t, s.bytes(), test.kind, "")
	}
}

// checkBad wants an error of a kind that has a text, or none; and that xz -t
// says the same, but for kinds that only we do not take.
func checkBad(t *testing.T, src []byte, kind error, text string) {
	t.Helper()
	var d Decoder
	got, err := d.DecodeAll(nil, src, limit)
	var f *FormatError
	if (err == nil) != (kind == nil) || (got == nil) != (err != nil) {
		t.Fatalf("got %d bytes, %v, want %v", len(got), err, kind)
	}
	if err != nil && (!errors.As(err, &f) || f.Kind != kind || !strings.Contains(err.Error(), text)) {
		t.Errorf("error %v, want %v … %s", err, kind, text)
	}
	if err != nil && (f.Offset < 0 || f.Offset > int64(len(src))) {
		t.Errorf("offset %d of %d", f.Offset, len(src))
	}
	if len(src) == 0 || kind == ErrUnsupported || strings.Contains(t.Name(), "all_ones") {
		return
	}
	// 2 is a warning: the check is unknown.
	if _, err := run(t, src, "-t"); (err != nil && err.Error() != "exit status 2") != (kind != nil) {
		t.Errorf("xz -t: %v", err)
	}
}

// TestLimit: what is larger is an error of its own, what is not is unpacked.
func TestLimit(t *testing.T) {
	plain := []byte(strings.Repeat("twelve bytes", 1000))
	data := append(stored(1, plain[:6000]), append(stored(2, plain[6000:]), 0)...)
	block := rawBlock{data: data, plain: plain}
	src := stream{check: 1, blocks: []rawBlock{block, block}}.bytes()
	var d Decoder
	for _, test := range []struct {
		limit int64
		kind  error
	}{{24000, nil}, {23999, ErrLimit}, {0, ErrLimit}, {-1, ErrLimit}, {math.MaxInt64, nil}} {
		got, err := d.DecodeAll(make([]byte, 100), src, test.limit)
		if !errors.Is(err, test.kind) || (got == nil) != (err != nil) {
			t.Errorf("limit %d: %v, %d bytes", test.limit, err, len(got))
		}
		if _, err := NewReader(bytes.NewReader(src), int64(len(src)), test.limit); !errors.Is(err, test.kind) {
			t.Errorf("limit %d: Reader: %v", test.limit, err)
		}
	}
}

// TestMemory: claims of sizes cost nothing.
func TestMemory(t *testing.T) {
	claim := func(size int64) func(string, []byte) []byte {
		return in("index", func(b []byte) []byte { return pad(binary.AppendUvarint(b[:3:3], uint64(size))) })
	}
	short := append(packed(0xe0, 2<<20, []byte{0x5d}, make([]byte, 5)), 0)
	for _, test := range []struct {
		name string
		src  []byte
		most uint64
	}{
		{"index", stream{blocks: []rawBlock{{data: []byte{0}}}, edit: claim(1 << 40)}.bytes(), 200 << 10},
		{"chunk", stream{blocks: []rawBlock{{data: short}}, edit: claim(1 << 40)}.bytes(), 4<<20 + 200<<10},
		{"dictionary", stream{blocks: []rawBlock{{data: []byte{0}, filter: []byte{lzma2, 1, 40}}}}.bytes(), 200 << 10},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var d Decoder
		_, err := d.DecodeAll(nil, test.src, 1<<50)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > test.most {
			t.Errorf("%s: %d bytes for %d, %v", test.name, n, len(test.src), err)
		}
	}
}
