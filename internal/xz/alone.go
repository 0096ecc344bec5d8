package xz

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// An AloneReader unpacks LZMA data without a container, as in .lzma files:
//
//	properties         as setProps takes them
//	dictionary size    32 bits
//	unpacked size      64 bits, all ones when not told
//	LZMA               at the end a mark, when the size is not told
//
// There is no checksum. It reads nothing behind the data.
type AloneReader struct {
	src feed
	win window
	c   coder

	left   uint64 // bytes still to come, when the size is told
	sized  bool
	unread int // see Unread
	err    error
}

const aloneHeader = 13

// NewAloneReader reads the header. The errors of the data are [*FormatError].
func NewAloneReader(br *bufio.Reader) (*AloneReader, error) {
	x := &AloneReader{src: feed{br: br}}
	h, err := x.src.next(aloneHeader, "LZMA header")
	if err != nil {
		return nil, err
	}
	if h[0] >= 225 {
		return nil, damaged(0, "LZMA properties %#02x", h[0])
	}
	if !x.win.setProps(h[0]) {
		return nil, fail(ErrUnsupported, 0, "LZMA properties %#02x", h[0])
	}
	x.win.reset()
	x.win.restart(max(1, uint(binary.LittleEndian.Uint32(h[1:]))))
	x.left = binary.LittleEndian.Uint64(h[5:])
	x.sized = x.left != math.MaxUint64
	if h, err = x.src.next(5, "first LZMA code"); err != nil {
		return nil, err
	}
	x.c = coder{size: 1<<32 - 1, code: uint(binary.BigEndian.Uint32(h[1:]))}
	if h[0] != 0 || x.c.code >= x.c.size {
		return nil, damaged(aloneHeader, "LZMA data begins with a wrong code")
	}
	return x, nil
}

// DictSize is the size of the dictionary that the header tells.
func (x *AloneReader) DictSize() uint { return x.win.claim }

// Sized tells whether the header tells the unpacked size.
func (x *AloneReader) Sized() bool { return x.sized }

// Unread is, after the end, how many of the last bytes a decoder leaves that
// stops as soon as it has everything, as the kernel's does.
func (x *AloneReader) Unread() int { return x.unread }

// Read gives what is unpacked.
func (x *AloneReader) Read(p []byte) (int, error) {
	for len(x.win.given()) == 0 && x.err == nil && len(p) > 0 {
		x.err = x.step()
	}
	n := x.win.give(p)
	if n == 0 && len(p) > 0 {
		return 0, x.err
	}
	return n, nil
}

// step unpacks some more.
func (x *AloneReader) step() error {
	const piece = 64 << 10
	w := &x.win
	w.room(piece)
	end := w.pos + piece
	if x.sized {
		if x.left == 0 {
			return x.finish()
		}
		end = w.pos + uint(min(piece, x.left))
	}
	start := w.pos
	if w.rest > 0 {
		n := min(w.rest, end-w.pos)
		w.copy(w.pos, n)
		w.pos, w.rest = w.pos+n, w.rest-n
	}
	var err error
	if w.pos < end {
		err = x.symbols(end)
	}
	x.left -= uint64(w.pos - start) // only looked at when the size is told
	if err == errMark {
		if x.sized && x.left > 0 {
			return damaged(x.src.off, "LZMA data ends %d bytes before the size that its header tells", x.left)
		}
		return x.finished(x.src.off)
	}
	if err == nil && x.sized && x.left == 0 && w.rest > 0 {
		err = damaged(x.src.off, "LZMA match is longer than what the header tells")
	}
	return err
}

// maxSymbol is more bytes than any symbol takes: 22 bits of the least
// probability (31/2048), 26 that are as they are, and what fill adds.
const maxSymbol = 24

var errMark = errors.New("mark of the end")

// symbols decodes up to end, or as much as is buffered.
func (x *AloneReader) symbols(end uint) error {
	w := &x.win
	if x.src.br.Buffered() < 2*maxSymbol {
		if _, err := x.src.br.Peek(2 * maxSymbol); err != nil && err != io.EOF {
			return err
		}
	}
	have := min(x.src.br.Buffered(), len(w.in))
	b, _ := x.src.br.Peek(have)
	copy(w.in[:], b)
	inEnd := uint(1) // near the end of the file: one symbol at a time
	if have >= 2*maxSymbol {
		inEnd = uint(have - maxSymbol)
	}
	if have < 2*maxSymbol {
		end = w.pos + 1
	}
	c, pos, what := w.symbols(x.c, w.pos, end, inEnd)
	if c.pos > uint(have) {
		return x.src.cut("part of the LZMA data")
	}
	w.pos = pos
	x.src.skip(int(c.pos))
	c.pos = 0
	x.c = c
	switch {
	case what == beyond && w.reps[0] == math.MaxUint32:
		return errMark
	case w.tooFar(what):
		return fail(ErrLimit, x.src.off, "LZMA distance of %d bytes, of which %d are kept", w.reps[0]+1, uint(MaxWindow))
	case what != "":
		return damaged(x.src.off, "%s", what)
	}
	return nil
}

// finish ends data whose size was told: there may still be a mark.
func (x *AloneReader) finish() error {
	start, pos := x.src.off, x.win.pos
	if err := x.fill(); err != nil {
		return err
	}
	if x.c.code != 0 {
		err := x.symbols(pos + 1)
		x.win.pos = pos
		if err == nil {
			return damaged(x.src.off, "LZMA data goes on after the size that its header tells")
		}
		if err != errMark {
			return err
		}
	}
	return x.finished(start)
}

// finished wants everything read; start is where a decoder may stop that has
// got all it needs.
func (x *AloneReader) finished(start int64) error {
	if err := x.fill(); err != nil {
		return err
	}
	if x.c.code != 0 {
		return damaged(x.src.off, "LZMA data does not end where it should")
	}
	x.unread = int(x.src.off - start)
	return io.EOF
}

// fill is coder.fill from the file: an encoder writes the byte that it takes.
func (x *AloneReader) fill() error {
	if x.c.size >= 1<<24 {
		return nil
	}
	b, err := x.src.next(1, "last byte of the LZMA data")
	if err != nil {
		return err
	}
	x.win.in[0] = b[0]
	x.c = x.c.fill(&x.win.in)
	x.c.pos = 0
	return nil
}
