package xz

import "slices"

// MaxWindow is how much unpacked data a [StreamReader] or [AloneReader] keeps to
// repeat from, whatever the dictionary's size is said to be. xz -9 needs 64 MiB
// and the formats allow 4 GiB; what refers back further than this is refused.
const MaxWindow = 256 << 20

const minWindow = 64 << 10

// maxChunk is what the largest LZMA2 chunk unpacks to.
const maxChunk = 2 << 20

// window is a dictionary that data slides through: given holds what is unpacked
// and not read yet.
//
//	0             read           pos            len(dict)
//	|--- given out ---|--- given ---|--- room ------|
//
// It grows with what is unpacked, never by what a header claims. When it is as
// large as the dictionary and some room, what is too old is dropped.
type window struct {
	lzma
	pos, read uint
	claim     uint // size of the dictionary as the header tells
}

// restart forgets what was unpacked. All of it has been read.
func (w *window) restart(dictSize uint) {
	w.pos, w.read, w.claim = 0, 0, dictSize
	w.dictSize = min(dictSize, MaxWindow)
}

func (w *window) given() []byte { return w.dict[w.read:w.pos] }

// room makes room for n bytes, at most maxChunk. All before pos has been read.
func (w *window) room(n uint) {
	if w.pos+n <= uint(len(w.dict)) {
		return
	}
	// A quarter of the dictionary as room has each byte moved four times.
	most := w.dictSize + max(w.dictSize/4, 2*maxChunk)
	if size := uint(len(w.dict)); size < most {
		grown := make([]byte, max(w.pos+n, min(2*size, most), minWindow))
		copy(grown, w.dict[:w.pos])
		w.dict = grown
		return
	}
	drop := (w.pos - min(w.dictSize, w.pos)) &^ 15 // the position modulo 16 selects probabilities
	copy(w.dict, w.dict[drop:w.pos])
	w.pos -= drop
	w.read = w.pos
}

// tooFar tells an error of symbols apart: whether it is not the data that is
// wrong but the window that is too small.
func (w *window) tooFar(what string) bool {
	return what == beyond && w.claim > MaxWindow && w.dictSize <= w.reps[0] && w.reps[0] < w.claim && w.dictSize <= w.pos
}

// put appends b, which there is room for.
func (w *window) put(b []byte) {
	w.pos += uint(copy(w.dict[w.pos:], b))
}

// give copies what can be read to p.
func (w *window) give(p []byte) int {
	n := copy(p, w.given())
	w.read += uint(n)
	return n
}

// growTo makes b n bytes long; what was there is lost.
func growTo(b []byte, n int) []byte { return slices.Grow(b[:0], n)[:n] }
