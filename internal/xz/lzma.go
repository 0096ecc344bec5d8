package xz

// lzma decodes the symbols of LZMA chunks. A symbol is
//
//	0                       literal: a byte
//	1 0                     match: length, distance
//	1 1 0 0                 one byte from the latest distance
//	1 1 0 1                 length, from the latest distance
//	1 1 1 0                 length, from the distance before that
//	1 1 1 1 0               length, from the third last distance
//	1 1 1 1 1               length, from the fourth last distance
//
// Probabilities depend on state, which tells the kinds of the last symbols, and
// on the position in the output modulo 1, 2, 4, 8 or 16.
type lzma struct {
	dict     []byte  // what is unpacked, and room for what will be
	dictSize uint    // distances reach no further
	state    uint    // 0 to 11; less than 7 after a literal
	reps     [4]uint // latest distances - 1
	rest     uint    // bytes of the last match that found no room
	loose    bool    // the last byte of the chunk took nothing of its packed bytes
	posMask  uint
	litMask  uint // bits of position and last byte that select a literal's trees
	litShift uint

	isMatch   [16][16]prob // by state and position
	isRep     [16]prob     // by state
	isRep0    [16]prob
	isRep1    [16]prob
	isRep2    [16]prob
	isLong    [16][16]prob
	length    lengths // of matches
	repLength lengths // of the others
	slots     tree    // from node 4 + 0 to 3, by length
	special   [115]prob
	align     reverseTree
	literals  [16]literal

	in input
}

// setProps takes the byte (pb*5 + lp)*9 + lc. The low pb bits of the position
// select probabilities of symbols, the low lp bits of the position and the high
// lc bits of the last byte those of literals. LZMA2 allows lc + lp up to 4.
func (l *lzma) setProps(b byte) bool {
	lc, lp, pb := b%9, b/9%5, b/45
	if pb > 4 || lc+lp > 4 {
		return false
	}
	l.posMask = 1<<pb - 1
	l.litMask = (1<<lp-1)<<8 | 0xff
	l.litShift = uint(8 - lc)
	return true
}

func (l *lzma) reset() {
	l.state, l.reps, l.rest = 0, [4]uint{}, 0
	for i := range l.isMatch {
		even(l.isMatch[i][:])
		even(l.isLong[i][:])
	}
	for _, p := range [][]prob{l.isRep[:], l.isRep0[:], l.isRep1[:], l.isRep2[:],
		l.slots[:256], l.special[:], l.align[:]} {
		even(p)
	}
	l.length.reset()
	l.repLength.reset()
	for i := range l.literals[:l.litMask>>l.litShift+1] {
		even(l.literals[i][:])
	}
}

// even makes all probabilities 1/2.
func even(p []prob) {
	for i := range p {
		p[i] = probInit
	}
}

// unpack decodes the symbols of a chunk into dict[pos:end]. Where something is
// wrong, it returns what, and the offset in the packed bytes.
func (l *lzma) unpack(pos, end uint, packed []byte) (at int, what string) {
	const (
		start = 5       // bytes that begin each chunk: 0 and the first code
		all   = 1 << 31 // more input than a chunk can use: what is read is checked below
	)
	if len(packed) < start {
		return 0, "LZMA chunk is too short"
	}
	n := copy(l.in[:], packed)
	code := uint(l.in[1])<<24 | uint(l.in[2])<<16 | uint(l.in[3])<<8 | uint(l.in[4])
	c := coder{size: 1<<32 - 1, code: code, pos: start}
	if l.in[0] != 0 || c.code >= c.size {
		return 0, "LZMA chunk begins with a wrong code"
	}
	c, pos, what = l.symbols(c, pos, end-1, all)
	l.loose = c.code == 0 && l.rest == 0
	switch {
	case what != "":
	case l.rest > 0:
		l.copy(pos, 1)
		l.rest--
	default:
		c, _, what = l.symbols(c, pos, end, all)
	}
	c = c.fill(&l.in)
	switch {
	case c.pos > uint(n):
		return n, "LZMA chunk is longer than its header tells"
	case what != "":
		return int(c.pos), what
	case l.rest > 0:
		return int(c.pos), "LZMA match is longer than its chunk"
	case c.pos < uint(n) || c.code != 0:
		return int(c.pos), "LZMA chunk does not end where its header tells"
	}
	return n, ""
}

// afterLiteral is the state that follows a literal.
var afterLiteral = [16]uint8{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// beyond is what symbols finds where a distance does not fit. The largest
// distance is no distance but the mark that ends data of unknown size.
const beyond = "LZMA distance reaches back beyond the dictionary"

// symbols decodes until dict is full up to end or the input is read up to
// inEnd; the last symbol reads on from there. It returns how far dict is full.
func (l *lzma) symbols(c coder, pos, end, inEnd uint) (_ coder, _ uint, what string) {
	in, state, last := &l.in, l.state, uint(0)
	if pos > 0 {
		last = uint(l.dict[pos-1])
	}
	for pos < end && c.pos < inEnd {
		var n, rest uint
		p := &l.isMatch[state&15][pos&l.posMask&15]
		c, rest = c.cut(in, p)
		if c.isZero() {
			p.zero()
			lit := &l.literals[(pos<<8|last)&l.litMask>>(l.litShift&15)&15]
			n = 1
			if state >= 7 {
				c, n = lit.matched(c, in, uint(l.dict[pos-l.reps[0]-1]))
			}
			c, last = lit.tree().decode(c, in, n)
			last &= 0xff
			l.dict[pos] = byte(last)
			pos++
			state = uint(afterLiteral[state&15])
			continue
		}
		c = c.one(rest, p)
		c, n, state = l.match(c, state, pos&l.posMask)
		if l.reps[0] >= pos || l.reps[0] >= l.dictSize {
			return c, pos, beyond
		}
		if n > end-pos {
			l.rest = n - (end - pos)
			n = end - pos
		}
		last = l.copy(pos, n)
		pos += n
	}
	l.state = state
	return c, pos, ""
}

// match decodes all symbols but literals, behind their first bit, into reps[0]
// and a length.
func (l *lzma) match(c coder, state, pos uint) (_ coder, n, next uint) {
	in := &l.in
	p := &l.isRep[state&15]
	c, rest := c.cut(in, p)
	if c.isZero() {
		p.zero()
		c, n = l.length.decode(c, in, pos)
		l.reps[3], l.reps[2], l.reps[1] = l.reps[2], l.reps[1], l.reps[0]
		c, l.reps[0] = l.distance(c, n)
		return c, n, after(state, 7, 10)
	}
	c = c.one(rest, p)
	p = &l.isRep0[state&15]
	c, rest = c.cut(in, p)
	if c.isZero() {
		p.zero()
		p = &l.isLong[state&15][pos&15]
		c, rest = c.cut(in, p)
		if c.isZero() {
			p.zero()
			return c, 1, after(state, 9, 11)
		}
		c = c.one(rest, p)
	} else {
		c = l.older(c.one(rest, p), state)
	}
	c, n = l.repLength.decode(c, in, pos)
	return c, n, after(state, 8, 11)
}

// after is the state after a symbol that is no literal.
func after(state, literal, other uint) uint {
	if state < 7 {
		return literal
	}
	return other
}

// older takes one of the distances before the latest to the front.
func (l *lzma) older(c coder, state uint) coder {
	in := &l.in
	p := &l.isRep1[state&15]
	c, rest := c.cut(in, p)
	if c.isZero() {
		p.zero()
		l.reps[0], l.reps[1] = l.reps[1], l.reps[0]
		return c
	}
	c = c.one(rest, p)
	p = &l.isRep2[state&15]
	c, rest = c.cut(in, p)
	if c.isZero() {
		p.zero()
		l.reps[0], l.reps[1], l.reps[2] = l.reps[2], l.reps[0], l.reps[1]
		return c
	}
	l.reps[0], l.reps[1], l.reps[2], l.reps[3] = l.reps[3], l.reps[0], l.reps[1], l.reps[2]
	return c.one(rest, p)
}

// lengths are those of a match:
//
//	0    3 bits    2 to 9
//	1 0  3 bits    10 to 17
//	1 1  8 bits    18 to 273
//
// Numbers of 3 bits depend on the position; they share a tree from nodes 32 and
// 48 on.
type lengths struct {
	long, high prob
	low        tree
	rest       tree
}

func (l *lengths) reset() {
	l.long, l.high = probInit, probInit
	even(l.low[:256])
	even(l.rest[:256])
}

func (l *lengths) decode(c coder, in *input, pos uint) (coder, uint) {
	c, rest := c.cut(in, &l.long)
	if c.isZero() {
		l.long.zero()
		c, n := l.low.decode(c, in, 32+pos)
		return c, n&7 + 2
	}
	c = c.one(rest, &l.long)
	c, rest = c.cut(in, &l.high)
	if c.isZero() {
		l.high.zero()
		c, n := l.low.decode(c, in, 48+pos)
		return c, n&7 + 10
	}
	c, n := l.rest.decode(c.one(rest, &l.high), in, 1)
	return c, n&0xff + 18
}

// distance - 1 is a floating point number: the slot has 6 bits, which tell how
// many bits there are and the highest two of them.
//
//	slot    bits of distance - 1
//	0 to 3  the slot
//	4, 5    10b 11b            b from trees of their own, lowest first
//	6, 7    10bb 11bb
//	...
//	12, 13  10bbbbb 11bbbbb
//	14, 15  10ddaaaa 11ddaaaa  d as they are, a from the tree align
//	...
//	62, 63  10d...daaaa        32 bits
//
// The trees of slots 4 to 13 lie so close that the row of one begins in the
// unused node 0 of the one before.
func (l *lzma) distance(c coder, length uint) (coder, uint) {
	in := &l.in
	c, slot := l.slots.decode(c, in, 4+min(length-2, 3))
	slot &= 63
	if slot < 4 {
		return c, slot
	}
	bits := slot/2 - 1
	top := (2 | slot&1) << (bits & 31)
	if slot < 14 {
		t := (*reverseTree)(l.special[top-slot:])
		c, low := t.decode(c, in, bits)
		return c, top + low
	}
	c, high := c.direct(in, bits-4)
	c, low := l.align.decode(c, in, 4)
	return c, top + high<<4 + low
}

// copy repeats n bytes from reps[0]+1 before pos, and returns the last one. It
// goes in steps of 32, which may overwrite up to 31 bytes behind.
func (l *lzma) copy(pos, n uint) uint {
	dict, back := l.dict, l.reps[0]+1
	last := pos + n - 1
	if back < min(n, 16) || uint(len(dict)) < last+32 {
		for i := pos; i <= last; i++ {
			dict[i] = dict[i-back]
		}
		return uint(dict[last])
	}
	to, from := dict[pos:], dict[pos-back:]
	for {
		t, f := (*[32]byte)(to), (*[32]byte)(from)
		*(*[16]byte)(t[:16]) = *(*[16]byte)(f[:16])
		*(*[16]byte)(t[16:]) = *(*[16]byte)(f[16:])
		if n <= 32 {
			return uint(dict[last])
		}
		n -= 32
		to, from = to[32:], from[32:]
	}
}
