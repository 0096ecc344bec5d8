package kernel

import (
	"bytes"
	"slices"
)

// kallsyms is the kernel's list of its own symbols (scripts/kallsyms.c). Two orders
// exist, that of 6.1 and that of 6.12:
//
//	offsets | relative base | number | names | markers | seqs | tokens | token index
//	number | names | markers | tokens | token index | offsets | relative base | seqs
//
// Each part is aligned to 8 bytes, in 7.2 to 4. Seqs came with 6.2 and went into 6.1.
// There are addresses of 8 bytes instead of offsets without KALLSYMS_BASE_RELATIVE;
// in 7.2 there is no base.
//
//	number   4 bytes
//	names    length, so many tokens of 1 byte each; the first letter is the type.
//	         From 128 on the length has two bytes of 7 bits (since 6.1)
//	markers  where each 256th name begins, 4 bytes each
//	seqs     3 bytes for each name
//	tokens   256 texts with NUL, and the index tells where each begins, 2 bytes each
//	offsets  4 bytes each
type kallsyms struct {
	data   []byte
	tokens [256][]byte
	names  uint64 // where they begin
	number int
	// addresses are those of the names in order; nil when they cannot be told.
	addresses []uint64
	at        uint64 // where the tokens begin
}

const (
	// maxKallsyms is the most names that a kernel may have, far above Debian's 120,000.
	maxKallsyms = 8 << 20
	// maxKsymName is what a name takes at most, packed (KSYM_NAME_LEN), with its length.
	maxKsymName = 512 + 2
	// markEach is how many names there are from one marker to the next.
	markEach = 256
	// maxTokenTables and maxMarkers are how many places that look like one are tried.
	maxTokenTables = 4
	maxMarkers     = 8
	// maxExpansion is how many times the size of the kernel its names may have.
	maxExpansion = 4
)

// findKallsyms finds the list by the shape of its parts; nil when there is none.
func findKallsyms(m *Image) *kallsyms {
	// Digits occur in every kernel's names, and stand for themselves.
	digits := []byte("\x000\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00")
	for from, tables := 0, 0; tables < maxTokenTables; {
		i := bytes.Index(m.Data[from:], digits)
		if i < 0 {
			break
		}
		from += i + 1
		k := &kallsyms{data: m.Data}
		behind, ok := k.readTokens(uint64(from))
		if !ok {
			continue
		}
		if tables++; k.findNames() {
			k.addresses = k.findAddresses(m, behind)
			return k
		}
	}
	return nil
}

// readTokens reads tokens and index, given where the token "0" is.
func (k *kallsyms) readTokens(zero uint64) (behind uint64, ok bool) {
	end := zero
	for range len(k.tokens) - '0' {
		n := bytes.IndexByte(k.data[end:min(end+maxKsymName, uint64(len(k.data)))], 0)
		if n < 0 {
			return 0, false
		}
		end += uint64(n) + 1
	}
	for at := (end + 3) &^ 3; at <= end+8; at += 4 {
		index := bytesAt(k.data, at, 2*uint64(len(k.tokens)))
		if index == nil {
			return 0, false
		}
		before := uint64(le.Uint16(index[2*'0':]))
		if before <= zero && k.cutTokens(zero-before, end, index) {
			return at + uint64(len(index)), true
		}
	}
	return 0, false
}

func (k *kallsyms) cutTokens(start, end uint64, index []byte) bool {
	table, next := k.data[start:end], 0
	for i := range k.tokens {
		if int(le.Uint16(index[2*i:])) != next || next >= len(table) {
			return false
		}
		n := bytes.IndexByte(table[next:], 0) // the table ends in NUL
		k.tokens[i] = table[next : next+n]
		next += n + 1
	}
	k.at = start
	return next == len(table)
}

// findNames looks for the markers before the tokens, then for the names before them.
func (k *kallsyms) findNames() bool {
	tried := 0
	for start := k.at &^ 3; start >= 8 && k.at-start < 4*maxKallsyms && tried < maxMarkers; start -= 4 {
		if le.Uint32(k.data[start-4:]) != 0 || !isMarkerStep(0, le.Uint32(k.data[start:])) {
			continue
		}
		if n := k.countMarkers(start - 4); n > 0 {
			if tried++; k.namesBefore(start-4, n) {
				return true
			}
		}
	}
	return false
}

// isMarkerStep tells whether one marker may follow another.
func isMarkerStep(last, next uint32) bool {
	return next > last && next-last >= 2*markEach && next-last <= markEach*maxKsymName
}

// countMarkers counts those that begin at start. Behind them are the tokens, or
// 3 bytes for each name and then the tokens.
func (k *kallsyms) countMarkers(start uint64) uint64 {
	n, last := uint64(1), uint32(0)
	for at := start + 4; at+4 <= k.at; at += 4 {
		next := le.Uint32(k.data[at:])
		if !isMarkerStep(last, next) {
			break
		}
		last = next
		n++
	}
	gap := k.at - (start + 4*n)
	if gap < 8 || gap > 3*markEach*(n-1) && gap < 3*markEach*n+16 {
		return n
	}
	return 0
}

// namesBefore looks for the number of names, and the names, which end where the
// markers begin.
func (k *kallsyms) namesBefore(markers, n uint64) bool {
	last := uint64(le.Uint32(k.data[markers+4*(n-1):]))
	if last+4 > markers {
		return false
	}
	for names, tried := (markers-last)&^3, 0; names >= 8 && tried < markEach*maxKsymName/4; names, tried = names-4, tried+1 {
		for _, at := range []uint64{names - 8, names - 4} {
			number := uint64(le.Uint32(k.data[at:]))
			if number <= markEach*(n-1) || number > markEach*n {
				continue
			}
			// The last ones first: most places fail there, and they are few.
			end, ok := k.walk(names+last, number-markEach*(n-1), markers)
			if ok && markers-end < 8 && k.goesWith(markers, n, names) {
				k.names, k.number = names, int(number)
				return true
			}
		}
	}
	return false
}

// walk goes over n names, which must end before a place.
func (k *kallsyms) walk(at, n, before uint64) (end uint64, ok bool) {
	for range n {
		packed, next := k.nameAt(at)
		if packed == nil || next > before {
			return 0, false
		}
		at = next
	}
	return at, true
}

// goesWith tells whether the n markers are those of the names.
func (k *kallsyms) goesWith(markers, n, names uint64) bool {
	at := names
	for i := range n - 1 {
		end, ok := k.walk(at, markEach, markers)
		if !ok || end-names != uint64(le.Uint32(k.data[markers+4*(i+1):])) {
			return false
		}
		at = end
	}
	return true
}

// nameAt gives the tokens of the name at a place, and the place behind them; nil at
// what can be none.
func (k *kallsyms) nameAt(at uint64) (packed []byte, next uint64) {
	h := bytesAt(k.data, at, 2)
	if h == nil {
		return nil, 0
	}
	n, head := uint64(h[0]), uint64(1)
	if n >= 128 {
		n, head = n&127|uint64(h[1])<<7, 2
	}
	if n == 0 || n > maxKsymName {
		return nil, 0
	}
	packed = bytesAt(k.data, at+head, n)
	return packed, at + head + n
}

// each hands out the names without their types, with their number. The name is
// overwritten by the next one. What repeats itself too often is not a kernel's.
func (k *kallsyms) each(take func(i int, name []byte)) {
	buf := make([]byte, 0, maxKsymName)
	at, left := k.names, maxExpansion*len(k.data)
	for i := range k.number {
		packed, next := k.nameAt(at)
		buf = buf[:0]
		for _, t := range packed {
			if buf = append(buf, k.tokens[t]...); len(buf) > maxKsymName {
				break // tokens may have any length in a file that is none
			}
		}
		if left -= len(buf); left < 0 {
			return
		}
		if len(buf) > 1 {
			take(i, buf[1:])
		}
		at = next
	}
}

// findAddresses reads the addresses, which are before the number of the names or
// behind the index of the tokens. The right form of them is the one that ascends.
func (k *kallsyms) findAddresses(m *Image, behind uint64) []uint64 {
	n := uint64(k.number)
	number := k.names - 8 // older kernels align it
	short, long := (4*n+7)&^7, 8*n
	for _, p := range []struct{ offsets, base uint64 }{
		{behind, (behind + 4*n + 7) &^ 7},
		{(behind + 7) &^ 7, (behind+7)&^7 + short},
		{number - 8 - short, number - 8},
	} {
		offsets, base := bytesAt(k.data, p.offsets, 4*n), bytesAt(k.data, p.base, 8)
		if offsets == nil {
			continue
		}
		if base != nil && m.holds(le.Uint64(base)) {
			if a := relativeAddresses(offsets, le.Uint64(base)); a != nil {
				return a
			}
		}
		// Code is before the list. Zeros would give the list's own place.
		if a := placeAddresses(offsets, m.Base+p.offsets); p.offsets >= behind && a != nil && a[0]-m.Base < k.names {
			return a
		}
	}
	for _, at := range []uint64{behind, (behind + 7) &^ 7, number - long} {
		if a := absoluteAddresses(bytesAt(k.data, at, long)); a != nil && m.holds(a[0]) {
			return a
		}
	}
	return nil
}

// holds tells whether an address is in the image.
func (m *Image) holds(addr uint64) bool {
	return m.Base != 0 && addr-m.Base < uint64(len(m.Data))
}

// relativeAddresses are counted from a base that is the first of them. With
// KALLSYMS_ABSOLUTE_PERCPU, as x86 had it, those of each processor are counted from 0,
// and come first; the others then are negative, less 1.
func relativeAddresses(offsets []byte, base uint64) []uint64 {
	a := make([]uint64, len(offsets)/4)
	percpu := false
	for i := range a {
		off := le.Uint32(offsets[4*i:])
		if off == 1<<32-1 {
			percpu = true
		}
		a[i] = base + uint64(off)
	}
	if percpu {
		for i := range a {
			off := int32(le.Uint32(offsets[4*i:]))
			if a[i] = uint64(off); off < 0 {
				a[i] = base - 1 - uint64(int64(off))
			}
		}
	}
	if !slices.IsSorted(a) || !percpu && a[0] != base {
		return nil
	}
	return a
}

// placeAddresses are counted from where each offset itself is, as in 7.2.
func placeAddresses(offsets []byte, at uint64) []uint64 {
	a := make([]uint64, len(offsets)/4)
	for i := range a {
		a[i] = at + uint64(4*i) + uint64(int64(int32(le.Uint32(offsets[4*i:]))))
	}
	if !slices.IsSorted(a) {
		return nil
	}
	return a
}

func absoluteAddresses(data []byte) []uint64 {
	a := make([]uint64, len(data)/8)
	for i := range a {
		a[i] = le.Uint64(data[8*i:])
	}
	if len(a) == 0 || !slices.IsSorted(a) {
		return nil
	}
	return a
}
