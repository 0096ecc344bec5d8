package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
)

// counting tells which bytes of the file were read.
type counting struct {
	io.ReaderAt
	n int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.ReaderAt.ReadAt(p, off)
}

func blocks(sizes ...int) (src, plain []byte) {
	r := rand.New(rand.NewPCG(3, 4))
	s := stream{check: 1}
	for _, n := range sizes {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		data := []byte{0}
		if n > 0 {
			data = append(stored(1, b), 0)
		}
		s.blocks = append(s.blocks, rawBlock{data: data, plain: b})
		plain = append(plain, b...)
	}
	return s.bytes(), plain
}

func TestReader(t *testing.T) {
	a, plain := blocks(1000, 0, 5000, 1, 0, 7000, 60000, 60000, 60000, 60000)
	b, plainB := blocks(1, 2, 3)
	src := append(append(a, make([]byte, 8)...), b...)
	plain = append(plain, plainB...)
	x, err := NewReader(bytes.NewReader(src), int64(len(src)), limit)
	if err != nil || x.Size() != int64(len(plain)) || x.Blocks() != 13 {
		t.Fatalf("%v, %d bytes, want %d, %d blocks", err, x.Size(), len(plain), x.Blocks())
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		at := r.IntN(len(plain))
		p := make([]byte, r.IntN(20000))
		n, err := x.ReadAt(p, int64(at))
		want := plain[at:min(at+len(p), len(plain))]
		if (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF || !bytes.Equal(p[:n], want) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), at, n, err)
		}
	}
	for _, off := range []int64{int64(len(plain)), int64(len(plain)) + 1, 1 << 62} {
		if n, err := x.ReadAt(make([]byte, 1), off); n != 0 || err != io.EOF {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	if _, err := x.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Errorf("at -1: %v", err)
	}
	if err := iotest.TestReader(io.NewSectionReader(x, 0, x.Size()), plain); err != nil {
		t.Error(err)
	}
}

// TestReaderReads: what is not asked for is not read, what was, not again.
func TestReaderReads(t *testing.T) {
	src, _ := blocks(60000, 60000, 60000, 60000, 60000, 60000)
	r := &counting{ReaderAt: bytes.NewReader(src)}
	x, err := NewReader(r, int64(len(src)), limit)
	if err != nil || r.n > 2000 {
		t.Fatalf("%v, %d bytes read", err, r.n)
	}
	var p [1]byte
	for i, at := range []int64{70000, 70001, 200000, 110000, 119999} {
		if _, err := x.ReadAt(p[:], at); err != nil {
			t.Fatal(err)
		}
		if want := int64(min(i/2+1, 2)) * 60000; r.n < want || r.n > want+3000 {
			t.Errorf("read %d: %d bytes of the file", i, r.n)
		}
	}
	r.n = 0
	for _, at := range []int64{0, 60000, 120000, 180000, 0, 60000, 240000, 0, 60000, 180000, 240000} {
		if _, err := x.ReadAt(p[:], at); err != nil {
			t.Fatal(err)
		}
	}
	if r.n > 5*61000 {
		t.Errorf("%d bytes of the file for 5 blocks, 4 of them cached", r.n)
	}
}

// TestReaderDamage: a bad block spoils itself only.
func TestReaderDamage(t *testing.T) {
	src, plain := blocks(1000, 1000, 1000)
	src[1500] ^= 1
	x, err := NewReader(bytes.NewReader(src), int64(len(src)), limit)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1000)
	for at, want := range map[int64]error{0: nil, 1000: ErrFormat, 2000: nil, 500: ErrFormat} {
		if n, err := x.ReadAt(p, at); !errors.Is(err, want) || !bytes.Equal(p[:n], plain[at:int(at)+n]) {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	var f *FormatError
	if _, err := x.ReadAt(p, 1000); !errors.As(err, &f) || f.Offset < 1024 || f.Offset > 2200 {
		t.Errorf("place of the damage: %v", err)
	}
	if err := x.Reset(bytes.NewReader(src[:100]), 100, limit); !errors.Is(err, ErrTruncated) || x.Size() != 0 {
		t.Errorf("cut off: %v, %d bytes", err, x.Size())
	}
	if n, err := x.ReadAt(p, 0); n != 0 || err != io.EOF {
		t.Errorf("after a failed reset: %d, %v", n, err)
	}
	broken := iotest.ErrReader(io.ErrClosedPipe)
	if err := x.Reset(readerAt{broken}, 100, limit); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("file that cannot be read: %v", err)
	}
	if err := x.Reset(bytes.NewReader(src), int64(len(src))+4, limit); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("file that is smaller than told: %v", err)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(p []byte, _ int64) (int, error) { return r.Read(p) }

func TestReaderTogether(t *testing.T) {
	src, plain := blocks(slices.Repeat([]int{9000}, 12)...)
	x, err := NewReader(bytes.NewReader(src), int64(len(src)), limit)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			p := make([]byte, 500)
			for i := range 200 {
				at := (g*7919 + i*6007) % (len(plain) - len(p))
				if _, err := x.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, plain[at:at+len(p)]) {
					t.Errorf("at %d: %v", at, err)
				}
			}
		})
	}
	group.Wait()
}

// chunks is a file whose first block has some chunks of a little more than 60000
// bytes, each with a dictionary of its own; ends tells where they end in the file.
func chunks(kinds ...string) (src, plain []byte, ends []int) {
	r := rand.New(rand.NewPCG(7, 8))
	block := rawBlock{}
	at := headerSize + 12 // behind the headers
	for _, kind := range kinds {
		e := newEncoder(93)
		for len(e.plain) < 60000 {
			e.literal(byte(r.Uint32() >> r.IntN(8)))
			randomSymbol(r, e)
		}
		if kind == "stored" {
			block.data = append(block.data, stored(1, e.plain)...)
		} else {
			block.data = append(block.data, packed(0xe0, len(e.plain), []byte{93}, e.end())...)
		}
		block.plain = append(block.plain, e.plain...)
		ends = append(ends, at+len(block.data))
	}
	block.data = append(block.data, 0)
	second := rawBlock{data: append(stored(1, []byte("second")), 0), plain: []byte("second")}
	src = stream{check: 1, blocks: []rawBlock{block, second}}.bytes()
	return src, append(block.plain, second.plain...), ends
}

// TestReaderFront: of the first block as many chunks are unpacked as it takes,
// and there nothing goes unnoticed though the check is not compared.
func TestReaderFront(t *testing.T) {
	src, plain, ends := chunks("lzma", "lzma", "lzma")
	if out, err := run(t, src, "-dc"); err != nil || !bytes.Equal(out, plain) {
		t.Fatalf("xz -d: %v, same %v", err, bytes.Equal(out, plain))
	}
	x := new(Reader)
	read := func(src []byte, n int) error {
		if err := x.Reset(bytes.NewReader(src), int64(len(src)), limit); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, n)
		if _, err := x.ReadAt(p, 0); err != nil {
			if _, again := x.ReadAt(p, 0); again == nil {
				t.Errorf("%v, but not the second time", err)
			}
			return err
		}
		if !bytes.Equal(p, plain[:n]) {
			t.Errorf("%d bytes are wrong", n)
		}
		return nil
	}
	for n := 0; n < len(plain); n += 997 {
		if err := read(src, n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	damaged := bytes.Clone(src)
	for i := headerSize; i < ends[0]; i++ {
		for bit := range 8 {
			if i > headerSize+100 && i%64 > 0 {
				continue // that would take half a minute
			}
			damaged[i] ^= 1 << bit
			if err := read(damaged, 100); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
			damaged[i] = src[i]
		}
	}
	for i, end := range ends { // the last byte of each chunk
		damaged[end-1] ^= 1
		for wanted, n := range []int{100, 61000, 121000} {
			if err := read(damaged, n); (err != nil) != (wanted >= i) {
				t.Errorf("damage in chunk %d: %d bytes: %v", i, n, err)
			}
		}
		damaged[end-1] ^= 1
	}
}

// TestReaderStored: where chunks are stored, only the check tells damage.
func TestReaderStored(t *testing.T) {
	src, plain, ends := chunks("lzma", "stored", "lzma")
	src[ends[1]-1] ^= 1
	x, err := NewReader(bytes.NewReader(src), int64(len(src)), limit)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 61000)
	if n, err := x.ReadAt(p[:100], 0); err != nil || !bytes.Equal(p[:n], plain[:100]) {
		t.Errorf("chunk before it: %v", err)
	}
	if _, err := x.ReadAt(p, 0); !errors.Is(err, ErrFormat) {
		t.Errorf("the chunk: %v", err)
	}
}

// TestReaderLoose: that a chunk unpacks to a byte more or less changes none of its
// packed bytes where such a byte is certain enough; then only the check tells.
func TestReaderLoose(t *testing.T) {
	e := newEncoder(93)
	for range 1 << 10 {
		e.literal(0)
	}
	data := append(packed(0xe0, len(e.plain), []byte{93}, e.end()), 0)
	src := stream{check: 1, blocks: []rawBlock{{data: data, plain: e.plain}, {data: []byte{0}}}}.bytes()
	for n := range 8 {
		const sizeAt = headerSize + 12 + 1
		damaged := bytes.Clone(src)
		binary.BigEndian.PutUint16(damaged[sizeAt:], uint16(len(e.plain)-5+n))
		x, err := NewReader(bytes.NewReader(damaged), int64(len(damaged)), limit)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.ReadAt(make([]byte, 100), 0)
		if right := n == 4; (err == nil) != right {
			t.Errorf("%d bytes instead of %d: %v", len(e.plain)-4+n, len(e.plain), err)
		}
	}
}
