package index

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// sort puts the entries into the order of their keys, those of one key into that of the
// file. It looks at eight bytes of the keys at once, as many begin alike.
func (b *Builder) sort() {
	order := make([]place, len(b.entries))
	for i := range order {
		order[i].entry = uint32(i)
	}
	b.sortFrom(0, order)
	// take each entry to its place: order tells who is to come to one
	for to := range order {
		first, at := b.entries[to], to
		for {
			from := int(order[at].entry)
			order[at].entry = uint32(at)
			if from == to {
				break
			}
			b.entries[at] = b.entries[from]
			at = from
		}
		b.entries[at] = first
	}
}

// A place is for the entry that comes there.
type place struct {
	next  uint64 // eight bytes of its key
	entry uint32
}

// sortFrom sorts entries whose keys agree in the first depth bytes.
func (b *Builder) sortFrom(depth int, order []place) {
	for i := range order {
		order[i].next = next(b.entries[order[i].entry].key, depth)
	}
	slices.SortFunc(order, func(x, y place) int { return cmp.Compare(x.next, y.next) })
	for len(order) > 1 {
		n := 1
		for n < len(order) && order[n].next == order[0].next {
			n++
		}
		switch same := order[:n]; {
		case n == 1:
		case byte(same[0].next) == 0: // the key has ended, as it has no NUL
			slices.SortFunc(same, func(x, y place) int {
				return cmp.Or(cmp.Compare(b.entries[x.entry].priority, b.entries[y.entry].priority), cmp.Compare(y.entry, x.entry))
			})
		default:
			b.sortFrom(depth+8, same)
		}
		order = order[n:]
	}
}

// next are the next eight bytes of a key, of which bytes compare as numbers do.
func next(key string, depth int) uint64 {
	if depth+8 <= len(key) {
		return binary.BigEndian.Uint64([]byte(key[depth : depth+8]))
	}
	var bytes [8]byte
	copy(bytes[:], key[min(depth, len(key)):])
	return binary.BigEndian.Uint64(bytes[:])
}
