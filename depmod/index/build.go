package index

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Layout is the order of the nodes in the file. Readers do not care.
type Layout int

// The layouts.
const (
	PreOrder  Layout = iota // a node, then its children: kmod 34 and later
	PostOrder               // the children, then their node: kmod 33 and earlier
)

// Builder makes an index. The zero value is an empty one, to be written in the
// layout of today.
type Builder struct {
	Layout Layout

	entries []entry
}

type entry struct {
	key, value string
	priority   uint32
}

// TextError says which byte keeps a key or a value out of an index: a NUL,
// which ends strings there, or one that is not ASCII, which kmod refuses.
type TextError struct {
	Text   string // the key or the value
	Offset int    // of the byte
}

func (e *TextError) Error() string {
	return fmt.Sprintf("index: character 0x%02x at byte %d of %q: only 7-bit characters other than NUL can be in an index",
		e.Text[e.Offset], e.Offset, e.Text)
}

// Add adds a value to a key. Among values of one key the lowest priority comes
// first, and the one added last among equal priorities; none is dropped. An
// entry that cannot be in an index is left out, with a [*TextError] or an error
// that tells of a key longer than [MaxKeyLen].
func (b *Builder) Add(key, value string, priority uint32) error {
	for _, text := range []string{key, value} {
		if i := misfit(text); i >= 0 {
			return &TextError{Text: text, Offset: i}
		}
	}
	if len(key) > MaxKeyLen {
		return fmt.Errorf("index: key %.32q… has %d bytes, more than %d", key, len(key), MaxKeyLen)
	}
	b.entries = append(b.entries, entry{key: key, value: value, priority: priority})
	return nil
}

// misfit finds the first byte that cannot be in an index, -1 if there is none.
func misfit(text string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		// of 7-bit characters only a NUL gets its highest bit set by subtracting one
		if w := binary.LittleEndian.Uint64([]byte(text[i : i+8])); (w|(w-ones))&highs != 0 {
			break
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == 0 || c >= 0x80 {
			return i
		}
	}
	return -1
}

// Grow makes room for n more entries, which spares moving those that are there.
func (b *Builder) Grow(n int) { b.entries = slices.Grow(b.entries, n) }

// Len is the number of entries.
func (b *Builder) Len() int { return len(b.entries) }

// WriteTo writes the index. It fails, without a byte written, when offsets of
// 28 bits do not reach the end of the file (256 MiB).
func (b *Builder) WriteTo(w io.Writer) (int64, error) {
	b.sort()
	t := trie{entries: b.entries, nodes: make([]buildNode, 0, len(b.entries)*3/2)}
	t.add(0, len(t.entries), 0)
	if b.Layout == PostOrder {
		t.order = t.appendPostOrder(make([]uint32, 0, len(t.nodes)), 0)
	}
	if err := t.place(); err != nil {
		return 0, err
	}
	return t.write(w)
}

// trie is the tree of the entries, sorted by key. Its nodes stand in
// pre-order, the root first. The tree follows from the set of the keys: apart
// from the root, a node begins where keys branch and its prefix goes on until
// they branch again or one ends.
type trie struct {
	entries []entry
	nodes   []buildNode
	order   []uint32 // numbers of the nodes as they follow in the file; nil in pre-order
}

// There are as many nodes as half the memory of an index that is being made, so its
// numbers are no larger than they have to be.
type buildNode struct {
	from, to  uint32 // entries whose key ends here; from is the first of the subtree
	end       uint32 // number of the node behind this one's subtree
	offset    uint32 // in the file
	depth     uint16 // of the prefix, in the keys of the subtree
	prefix    uint16 // its length
	children  uint8  // of which there are 127 at most
	label     byte   // character that leads here from the parent
	lastLabel byte   // of the children
}

// prefix is part of the key of each entry of the subtree.
func (t *trie) prefix(n *buildNode) string {
	return t.entries[n.from].key[n.depth:][:n.prefix]
}

// add appends the subtree for entries[from:to], whose keys agree in their
// first depth bytes.
func (t *trie) add(from, to, depth int) {
	n := buildNode{from: uint32(from)}
	if depth > 0 {
		n.label = t.entries[from].key[depth-1]
		n.depth = uint16(depth)
		n.prefix = uint16(commonPrefix(t.entries[from].key[depth:], t.entries[to-1].key[depth:]))
		depth += int(n.prefix)
	}
	for from < to && len(t.entries[from].key) == depth {
		from++
	}
	n.to = uint32(from)
	self := len(t.nodes)
	t.nodes = append(t.nodes, n)
	for from < to {
		c := t.entries[from].key[depth]
		next := t.behind(from, to, depth)
		t.add(from, next, depth+1)
		t.nodes[self].children++
		t.nodes[self].lastLabel = c
		from = next
	}
	t.nodes[self].end = uint32(len(t.nodes))
}

// behind finds the first of entries[from:to] that has another character at depth than the
// first. Its steps double, as there may be one or thousands.
func (t *trie) behind(from, to, depth int) int {
	c := t.entries[from].key[depth]
	step := 1
	for from+step < to && t.entries[from+step].key[depth] == c {
		from += step
		step *= 2
	}
	rest := t.entries[from+1 : min(from+step, to)]
	return from + 1 + sort.Search(len(rest), func(i int) bool { return rest[i].key[depth] != c })
}

func commonPrefix(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// number is that of the node that is the nth in the file.
func (t *trie) number(n int) uint32 {
	if t.order == nil {
		return uint32(n)
	}
	return t.order[n]
}

func (t *trie) appendPostOrder(seq []uint32, i uint32) []uint32 {
	for child := i + 1; child < t.nodes[i].end; child = t.nodes[child].end {
		seq = t.appendPostOrder(seq, child)
	}
	return append(seq, i)
}

// place gives each node its offset.
func (t *trie) place() error {
	offset := int64(headerSize)
	for n := range t.nodes {
		i := t.number(n)
		t.nodes[i].offset = uint32(offset)
		offset += t.size(i)
	}
	if offset > offsetMask {
		return fmt.Errorf("index: %d bytes: offsets of 28 bits reach %d", offset, offsetMask)
	}
	return nil
}

// size is the number of bytes of a node in the file.
func (t *trie) size(i uint32) (size int64) {
	n := &t.nodes[i]
	if n.prefix > 0 {
		size += int64(n.prefix) + 1
	}
	if n.children > 0 {
		first := t.nodes[i+1].label
		size += 2 + 4*(int64(n.lastLabel)-int64(first)+1)
	}
	if n.to > n.from {
		size += 4
		for _, e := range t.entries[n.from:n.to] {
			size += 4 + int64(len(e.value)) + 1
		}
	}
	return size
}

// offsetWord tells where a node is and what it has.
func (t *trie) offsetWord(i uint32) uint32 {
	n := &t.nodes[i]
	word := n.offset
	if n.prefix > 0 {
		word |= hasPrefix
	}
	if n.children > 0 {
		word |= hasChildren
	}
	if n.to > n.from {
		word |= hasValues
	}
	return word
}

func (t *trie) write(w io.Writer) (written int64, err error) {
	const enough = 16 << 10
	buf := make([]byte, 0, 2*enough)
	buf = binary.BigEndian.AppendUint32(buf, magic)
	buf = binary.BigEndian.AppendUint32(buf, version)
	buf = binary.BigEndian.AppendUint32(buf, t.offsetWord(0))
	for i := range t.nodes {
		buf = t.appendNode(buf, t.number(i))
		if len(buf) < enough && i < len(t.nodes)-1 {
			continue
		}
		n, err := w.Write(buf)
		written += int64(n)
		if err != nil {
			return written, err
		}
		buf = buf[:0]
	}
	return written, nil
}

func (t *trie) appendNode(buf []byte, i uint32) []byte {
	n := &t.nodes[i]
	if n.prefix > 0 {
		buf = append(append(buf, t.prefix(n)...), 0)
	}
	if n.children > 0 {
		next := t.nodes[i+1].label
		buf = append(buf, next, n.lastLabel)
		for child := i + 1; child < n.end; child = t.nodes[child].end {
			for ; next < t.nodes[child].label; next++ {
				buf = append(buf, 0, 0, 0, 0)
			}
			buf = binary.BigEndian.AppendUint32(buf, t.offsetWord(child))
			next++
		}
	}
	if n.to > n.from {
		buf = binary.BigEndian.AppendUint32(buf, n.to-n.from)
		for _, e := range t.entries[n.from:n.to] {
			buf = binary.BigEndian.AppendUint32(buf, e.priority)
			buf = append(append(buf, e.value...), 0)
		}
	}
	return buf
}
