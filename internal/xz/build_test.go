package xz

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
)

// stream builds a stream of any blocks, right or wrong.
type stream struct {
	check  byte
	blocks []rawBlock
	edit   func(part string, b []byte) []byte // changes a part before it gets its checksum
	spoil  func(part string, b []byte) []byte // changes a part with its checksum
}

// rawBlock is LZMA2 data and what it unpacks to.
type rawBlock struct {
	sizes  bool   // in the header
	filter []byte // instead of LZMA2 with 1 MiB
	data   []byte
	plain  []byte
}

func (s stream) part(name string, b []byte, sum bool) []byte {
	if s.edit != nil {
		b = s.edit(name, b)
	}
	if sum {
		b = le32(b, crc32.ChecksumIEEE(b))
	}
	if s.spoil != nil {
		b = s.spoil(name, b)
	}
	return b
}

func le32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

func (s stream) bytes() []byte {
	flags := s.part("flags", []byte{0, s.check}, true)
	out := append([]byte(headerMagic), flags...)
	index := binary.AppendUvarint([]byte{0}, uint64(len(s.blocks)))
	for _, b := range s.blocks {
		packed, unpadded := s.block(b)
		out = append(out, packed...)
		index = binary.AppendUvarint(index, uint64(unpadded))
		index = binary.AppendUvarint(index, uint64(len(b.plain)))
	}
	index = s.part("index", pad(index), true)
	out = append(out, index...)

	size := le32(nil, uint32(len(index)/4-1))
	footer := s.part("footer", append(size, 0, s.check), false)
	out = le32(out, crc32.ChecksumIEEE(footer))
	out = append(out, footer...)
	return append(out, s.part("magic", []byte(footerMagic), false)...)
}

func (s stream) block(b rawBlock) (packed []byte, unpadded int) {
	header := []byte{0, 0}
	if b.sizes {
		header[1] = 0xc0
		header = binary.AppendUvarint(header, uint64(len(b.data)))
		header = binary.AppendUvarint(header, uint64(len(b.plain)))
	}
	if b.filter == nil {
		b.filter = []byte{lzma2, 1, 16}
	}
	header = pad(append(header, b.filter...))
	header[0] = byte(len(header) / 4)
	header = s.part("block header", header, true)
	packed = append(header, b.data...)
	unpadded = len(packed) + len(s.sum(b.plain))
	packed = append(packed, s.part("block padding", make([]byte, -len(packed)&3), false)...)
	return append(packed, s.part("block check", s.sum(b.plain), false)...), unpadded
}

func (s stream) sum(plain []byte) []byte {
	switch check(s.check) {
	case checkCRC32:
		return le32(nil, crc32.ChecksumIEEE(plain))
	case checkCRC64:
		return binary.LittleEndian.AppendUint64(nil, crc64.Checksum(plain, crc64.MakeTable(crc64.ECMA)))
	case checkSHA256:
		sum := sha256.Sum256(plain)
		return sum[:]
	}
	return make([]byte, check(s.check).size())
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// stored is a chunk of LZMA2 that is not packed.
func stored(control byte, plain []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{control}, uint16(len(plain)-1))
	return append(b, plain...)
}

// packed is an LZMA chunk.
func packed(control byte, unpacked int, props []byte, data []byte) []byte {
	b := []byte{control | byte((unpacked-1)>>16)}
	b = binary.BigEndian.AppendUint16(b, uint16(unpacked-1))
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)-1))
	return append(append(b, props...), data...)
}

// An encoder writes LZMA symbols. It takes the probabilities of the decoder, so
// it proves nothing alone: xz must unpack what it makes.
type encoder struct {
	lzma
	plain     []byte
	low, span uint64
	out       []byte
}

func newEncoder(props byte) *encoder {
	e := &encoder{span: 1<<32 - 1, out: []byte{0}}
	e.setProps(props)
	e.reset()
	return e
}

func (e *encoder) emit() {
	for i := len(e.out) - 1; e.low >= 1<<32; i-- { // a carry
		if e.out[i]++; e.out[i] != 0 {
			e.low -= 1 << 32
		}
	}
	e.out = append(e.out, byte(e.low>>24))
	e.low = e.low << 8 & (1<<32 - 1)
}

func (e *encoder) fill() {
	if e.span < 1<<24 {
		e.emit()
		e.span <<= 8
	}
}

// end gives the bytes of the chunk.
func (e *encoder) end() []byte {
	e.fill()
	for range 4 {
		e.emit()
	}
	return e.out
}

func (e *encoder) bit(p *prob, b uint) {
	e.fill()
	bound := e.span >> probBits * uint64(*p)
	if b == 0 {
		e.span = bound
		*p += (2048 - *p) / 32
		return
	}
	e.low += bound
	e.span -= bound
	*p -= *p / 32
}

func (e *encoder) number(t []prob, n, v uint, bits int) {
	for i := bits - 1; i >= 0; i-- {
		b := v >> i & 1
		e.bit(&t[n], b)
		n = 2*n + b
	}
}

func (e *encoder) reversed(t []prob, v uint, bits uint) {
	n := uint(1)
	for i := range bits {
		b := v >> i & 1
		e.bit(&t[n], b)
		n = 2*n + b
	}
}

func (e *encoder) pos() uint { return uint(len(e.plain)) & e.posMask }

func (e *encoder) literal(c byte) {
	e.bit(&e.isMatch[e.state][e.pos()], 0)
	var last byte
	if len(e.plain) > 0 {
		last = e.plain[len(e.plain)-1]
	}
	t := &e.literals[(uint(len(e.plain))<<8|uint(last))&e.litMask>>e.litShift]
	n, same := uint(1), e.state >= 7
	for i := 7; i >= 0; i-- {
		b, at := uint(c)>>i&1, n
		if same {
			m := uint(e.plain[len(e.plain)-1-int(e.reps[0])]) >> i & 1
			at, same = 256+m<<8+n, m == b
		}
		e.bit(&t[at], b)
		n = 2*n + b
	}
	e.plain = append(e.plain, c)
	e.state = uint(afterLiteral[e.state])
}

func (e *encoder) length(l *lengths, n uint) {
	switch n -= 2; {
	case n < 8:
		e.bit(&l.long, 0)
		e.number(l.low[:], 32+e.pos(), n, 3)
	case n < 16:
		e.bit(&l.long, 1)
		e.bit(&l.high, 0)
		e.number(l.low[:], 48+e.pos(), n-8, 3)
	default:
		e.bit(&l.long, 1)
		e.bit(&l.high, 1)
		e.number(l.rest[:], 1, n-16, 8)
	}
}

// match goes back by dist, 1 and up.
func (e *encoder) match(dist, n uint) {
	e.bit(&e.isMatch[e.state][e.pos()], 1)
	e.bit(&e.isRep[e.state], 0)
	e.length(&e.lzma.length, n)
	e.distance(dist-1, n)
	e.reps = [4]uint{dist - 1, e.reps[0], e.reps[1], e.reps[2]}
	e.state = after(e.state, 7, 10)
	e.repeat(n)
}

func (e *encoder) distance(d, n uint) {
	bits := uint(0)
	for d>>bits > 3 {
		bits++
	}
	slot := 2*bits + d>>bits
	if d < 4 {
		slot = d
	}
	e.number(e.slots[:], 4+min(n-2, 3), slot, 6)
	switch {
	case slot < 4:
	case slot < 14:
		e.reversed(e.special[d>>bits<<bits-slot:], d&(1<<bits-1), bits)
	default:
		for i := int(bits) - 1; i >= 4; i-- {
			e.fill()
			if e.span >>= 1; d>>i&1 != 0 {
				e.low += e.span
			}
		}
		e.reversed(e.align[:], d&15, 4)
	}
}

// rep takes one of the latest distances; n is 1 only from the latest.
func (e *encoder) rep(i int, n uint) {
	e.bit(&e.isMatch[e.state][e.pos()], 1)
	e.bit(&e.isRep[e.state], 1)
	bit := func(b bool, p *prob) {
		e.bit(p, map[bool]uint{true: 1}[b])
	}
	bit(i > 0, &e.isRep0[e.state])
	if i == 0 {
		bit(n > 1, &e.isLong[e.state][e.pos()])
	} else if bit(i > 1, &e.isRep1[e.state]); i > 1 {
		bit(i > 2, &e.isRep2[e.state])
	}
	d := e.reps[i]
	copy(e.reps[1:i+1], e.reps[:i])
	e.reps[0] = d
	if n == 1 {
		e.state = after(e.state, 9, 11)
	} else {
		e.length(&e.repLength, n)
		e.state = after(e.state, 8, 11)
	}
	e.repeat(n)
}

func (e *encoder) repeat(n uint) {
	for range n {
		at := len(e.plain) - 1 - int(e.reps[0])
		if at < 0 {
			e.plain = append(e.plain, 0)
			continue
		}
		e.plain = append(e.plain, e.plain[at])
	}
}
