package xz

import "crypto/subtle"

// A coder is the range decoder: the packed data is one long fraction, and each
// bit divides the range that it may lie in. The probability of a 0, in 1/2048,
// says where:
//
//	0         code                        size
//	|----------|---------------------------|
//	|---------------------|----------------|
//	0    bit is 0       bound   bit is 1
//
// The side that code lies in becomes the new range. A range below 2^24 takes a
// byte of the input in at the bottom. Code is always less than size.
//
// It is passed by value so that it stays in registers: each bit depends on the
// one before, and nothing else in the package is as hot. Where the bit steers
// the program, it is found by a jump (cut, zero, one). Within a number (tree,
// literal…) a jump would be guessed wrong half of the time; there both sides
// are computed and one is chosen, without a jump.
type coder struct {
	size, code uint // 32 bits each
	pos        uint // of the next byte in the input
}

// input is the packed bytes of a chunk: at most 64 KiB, so that a masked
// position is always inside. Reading more than there is gives nonsense, never
// a panic; unpack finds out at the end.
type input [1 << 16]byte

// prob is the probability of a 0. With each bit it goes 1/32 of the way to 2048
// or to 31.
type prob uint16

const (
	probBits = 11
	probInit = 1 << probBits / 2
	probMove = 5
	probTop  = 1 << probBits
	probLow  = 1<<probMove - 1
)

// fill brings the size to at least 24 bits.
func (c coder) fill(in *input) coder {
	if c.size < 1<<24 {
		c.size <<= 8
		c.code = c.code<<8 | uint(in[uint16(c.pos)])
		c.pos++
	}
	return c
}

// cut divides the range, takes the side of a 0 and returns the size of the
// other. It is a 0 if code is inside now; zero or one finish the bit.
func (c coder) cut(in *input, p *prob) (coder, uint) {
	c = c.fill(in)
	bound := c.size >> probBits * uint(*p)
	rest := c.size - bound
	c.size = bound
	return c, rest
}

func (c coder) isZero() bool { return c.code < c.size }

func (p *prob) zero() { *p += (probTop - *p) >> probMove }

func (c coder) one(rest uint, p *prob) coder {
	*p -= *p >> probMove
	c.code -= c.size
	c.size = rest
	return c
}

// less is 1 if a < b, else 0; choose is a if that is 1, else b. Both become
// instructions without a jump.
func less(a, b uint) uint {
	if a < b {
		return 1
	}
	return 0
}

func choose(zero, a, b uint) uint {
	return uint(subtle.ConstantTimeSelect(int(zero), int(a), int(b)))
}

func (c coder) bound(p uint) uint { return c.size >> probBits * p }

// bit takes a bit without a jump: 1 for a 0, since that is what there is next.
func (c coder) bit(bound uint) (_ coder, zero uint) {
	zero = less(c.code, bound)
	c.size = choose(zero, bound, c.size-bound)
	c.code = choose(zero, c.code, c.code-bound)
	return c, zero
}

// adapt is the probability p after a bit.
func adapt(p, zero uint) prob {
	to := int(-zero&(probTop-probLow)) + probLow
	return prob(int(p) + (to-int(p))>>probMove)
}

// A tree decodes numbers bit by bit, the highest first. Each bit has its own
// probability for each value of the bits above: node 1 is the root, the two
// bits that follow node n are at 2n and 2n+1. Room for a row below the leaves
// lets both children be read before it is known which one is next.
type tree [treeSize]prob

const treeSize = 2*256 + 1

// decode goes from node n to a leaf, 256 and up: numbers of less than 8 bits
// begin further down, so that several of them share a tree.
func (t *tree) decode(c coder, in *input, n uint) (coder, uint) {
	p := uint(t[n&0xff])
	for child := 2 * n; child < 512; child = 2 * n {
		c = c.fill(in)
		p0, p1 := uint(t[child]), uint(t[child+1])
		var zero uint
		c, zero = c.bit(c.bound(p))
		t[n&0xff] = adapt(p, zero)
		p = choose(zero, p0, p1)
		n = child + 1 - zero
	}
	return c, n
}

// matched is a literal that stands where a match could have gone on, but did
// not: the byte that would have followed is known. As long as the bits are the
// same as that byte's, its next bit selects one of two more trees. Hence the
// nodes do not depend on the bits found, but for the one that differs.
func (t *literal) matched(c coder, in *input, match uint) (coder, uint) {
	n := uint(1)
	for n < 256 {
		c = c.fill(in)
		match <<= 1
		bit := match >> 8 & 1
		i := 256 + bit<<8 + n
		p := uint(t[i])
		var zero uint
		c, zero = c.bit(c.bound(p))
		t[i] = adapt(p, zero)
		n = 2*n + bit
		if zero == bit {
			n ^= 1
			break
		}
	}
	return c, n
}

// literal is the trees of a byte: without a match, with one that has a 0 next,
// with one that has a 1 next.
type literal [256 * 3]prob

func (t *literal) tree() *tree { return (*tree)(t[:treeSize]) }

// reverse decodes a number of up to 5 bits, the lowest first.
func (t *reverseTree) decode(c coder, in *input, bits uint) (coder, uint) {
	n, v := uint(1), uint(0)
	for i := range bits {
		c = c.fill(in)
		p := uint(t[n&31])
		var zero uint
		c, zero = c.bit(c.bound(p))
		t[n&31] = adapt(p, zero)
		n = 2*n + 1 - zero
		v |= (1 - zero) << (i & 31)
	}
	return c, v
}

type reverseTree [32]prob

// direct decodes bits that are 0 or 1 equally often.
func (c coder) direct(in *input, bits uint) (coder, uint) {
	v := uint(0)
	for range bits {
		c = c.fill(in)
		c.size >>= 1
		zero := less(c.code, c.size)
		c.code = choose(zero, c.code, c.code-c.size)
		v = 2*v + 1 - zero
	}
	return c, v
}
