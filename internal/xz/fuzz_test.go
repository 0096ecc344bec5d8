package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/mikelolasagasti/xz"

	"github.com/kstage/kstage/internal/kotest"
)

const fuzzLimit = 4 << 20

// oracle unpacks with a port of XZ Embedded; what it had got when it failed is
// given as well.
func oracle(src []byte) ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(src), 16<<20)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, fuzzLimit+1))
	return out, err
}

// differs tells of what the two are known to see differently.
func differs(ours, theirs error, out []byte) bool {
	return errors.Is(ours, ErrUnsupported) || // filters that we do not have
		errors.Is(theirs, xz.ErrOptions) || // a dictionary of 4 GiB - 1
		errors.Is(theirs, xz.ErrMemlimit) || // a dictionary of more than 16 MiB
		errors.Is(theirs, xz.ErrUnsupportedCheck) || // we skip what we do not know
		errors.Is(ours, ErrLimit) || len(out) > fuzzLimit ||
		ours != nil && strings.Contains(ours.Error(), "wrong code") // it does not look at the first code
}

// FuzzDecode: the same bytes as the oracle's, or an error from both. The
// checksums of headers and indexes are made right, or nothing would get
// through.
func FuzzDecode(f *testing.F) {
	for _, b := range smallFiles(f) {
		f.Add(b)
		f.Add(b[:len(b)-13])
	}
	f.Add(kotest.XZ([]byte("stored"), nil, []byte("twice")))
	f.Add(append(kotest.XZ(nil, nil), append(make([]byte, 8), kotest.XZ([]byte("x"))...)...))
	f.Add(stream{check: 2, blocks: []rawBlock{{sizes: true, data: []byte{0}}}}.bytes())
	f.Fuzz(func(t *testing.T, src []byte) {
		repair(src)
		prefix := []byte("before")
		var d Decoder
		got, err := d.DecodeAll(prefix, src, fuzzLimit)
		var fe *FormatError
		if (got == nil) != (err != nil) || err != nil && !errors.As(err, &fe) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err != nil && (fe.Offset < 0 || fe.Offset > int64(len(src))) {
			t.Errorf("offset %d of %d", fe.Offset, len(src))
		}
		if err == nil && !bytes.HasPrefix(got, prefix) {
			t.Errorf("%q does not begin with %q", got, prefix)
		}
		got = bytes.TrimPrefix(got, prefix)
		inPieces(t, src, got, err)
		want, werr := oracle(src)
		if differs(err, werr, want) {
			return
		}
		if (err == nil) != (werr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; oracle %d bytes, %v", len(got), err, len(want), werr)
		}
	})
}

// inPieces reads with a Reader, from the end to the start.
func inPieces(t *testing.T, src, want []byte, werr error) {
	var x Reader
	err := x.Reset(bytes.NewReader(src), int64(len(src)), fuzzLimit)
	got := make([]byte, x.Size())
	for end := len(got); end > 0 && err == nil; {
		start := max(0, end-max(7, len(got)/3))
		_, err = x.ReadAt(got[start:end], int64(start))
		end = start
	}
	if err != nil && werr == nil || err == nil && werr == nil && !bytes.Equal(got, want) {
		t.Errorf("Reader: %d bytes, %v; Decoder: %d bytes, %v", len(got), err, len(want), werr)
	}
}

// FuzzChunks is FuzzDecode for LZMA2 data alone, in a container that fits.
func FuzzChunks(f *testing.F) {
	e := newEncoder(0x5d)
	for i := range 100 {
		e.literal(byte(i * i / 3))
		if i%10 == 9 {
			e.match(uint(i), 9)
			e.rep(i/10%4, 5)
			e.rep(0, 1)
		}
	}
	f.Add(append(packed(0xe0, len(e.plain), []byte{0x5d}, e.end()), 0))
	f.Add(append(stored(1, []byte("a")), append(packed(0xc0, len(e.plain), []byte{0}, e.out), 0)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		for off := int64(0); ; {
			c, next, err := source(data).chunk(off)
			if err != nil {
				return
			}
			if off = next; c.control == 0 {
				data = data[:off]
				break
			}
		}
		plain, _ := oracle(stream{blocks: []rawBlock{{data: data}}}.bytes())
		src := stream{check: 1, blocks: []rawBlock{{data: data, plain: plain}}}.bytes()
		want, werr := oracle(src)
		var d Decoder
		got, err := d.DecodeAll(nil, src, fuzzLimit)
		if differs(err, werr, want) {
			return
		}
		if (err == nil) != (werr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; oracle %d bytes, %v", len(got), err, len(want), werr)
		}
	})
}

// repair makes the checksums of headers, indexes and footers right, as far as
// they are found.
func repair(b []byte) {
	s := source(b)
	sum := func(at, from, to int64) {
		if 0 <= from && from <= to && to <= int64(len(b)) && 0 <= at && at+4 <= int64(len(b)) {
			binary.LittleEndian.PutUint32(b[at:], crc32.ChecksumIEEE(b[from:to]))
		}
	}
	for off := int64(0); off+headerSize < int64(len(b)); {
		sum(off+8, off+6, off+8)
		sumSize := check(b[off+7] & 15).size()
		for off += headerSize; off < int64(len(b)) && b[off] != 0; {
			end := off + int64(b[off])*4
			sum(end, off, end)
			next, err := end+4, error(nil)
			for c := (chunk{control: 1}); err == nil && c.control != 0; {
				c, next, err = s.chunk(next)
			}
			if err != nil {
				return
			}
			off += (next-off+3)&^3 + sumSize
		}
		count, next, err := s.number(off + 1)
		for i := int64(0); i < 2*count && err == nil; i++ {
			_, next, err = s.number(next)
		}
		if err != nil {
			return
		}
		end := off + (next-off+3)&^3
		sum(end, off, end)
		sum(end+4, end+8, end+14)
		for off = end + 4 + footerSize; off < int64(len(b)) && b[off] == 0; {
			off++
		}
	}
}
