package index

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// node is a node of the file; its parts are cut from the file's text.
type node struct {
	prefix   string
	first    byte
	children string // offset words, four bytes each
	count    uint32 // of values
	values   string // begins with the first value, ends with the file
	before   int    // bytes of the node in front of the values
}

var errNoNode = errors.New("there is no node")

// node reads the node that an offset word tells of. The values are counted,
// not looked at.
func (ix *Index) node(word uint32) (n node, err error) {
	offset := int(word & offsetMask)
	if offset == 0 {
		return node{}, errNoNode
	}
	r := reader{text: ix.data, at: offset}
	if word&hasPrefix != 0 {
		n.prefix = r.until0()
	}
	if word&hasChildren != 0 {
		span := r.take(2)
		if r.err == nil && span[0] > span[1] {
			r.fail("children from %#x to %#x", span[0], span[1])
		}
		if r.err == nil {
			n.first = span[0]
			n.children = r.take(4 * (int(span[1]) - int(span[0]) + 1))
		}
	}
	if word&hasValues != 0 {
		n.count = r.word()
	}
	if r.err != nil {
		return node{}, fmt.Errorf("index: node at byte %d: %w", offset, r.err)
	}
	n.before = r.at - offset
	n.values = ix.data[min(r.at, len(ix.data)):]
	return n, nil
}

// child is the offset word of the child for character c, 0 if there is none.
func (n *node) child(c byte) uint32 {
	i := 4 * (int(c) - int(n.first))
	if i < 0 || i >= len(n.children) {
		return 0
	}
	return word(n.children[i:])
}

// all yields the children there are.
func (n *node) all() iter.Seq2[byte, uint32] {
	return func(yield func(byte, uint32) bool) {
		for i := 0; i < len(n.children); i += 4 {
			if w := word(n.children[i:]); w&offsetMask != 0 && !yield(n.first+byte(i/4), w) {
				return
			}
		}
	}
}

func (n *node) appendValues(to []Value) []Value {
	r := reader{text: n.values}
	for range n.count {
		v := Value{Priority: r.word(), Text: r.until0()}
		if r.err != nil {
			break
		}
		to = append(to, v)
	}
	return to
}

// reader takes parts of a text one after the other. After an error all parts
// are empty.
type reader struct {
	text string
	at   int
	err  error
}

func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, a...)
	}
}

func (r *reader) take(n int) string {
	if r.err != nil || r.at > len(r.text) || n > len(r.text)-r.at {
		r.fail("%d bytes at byte %d run past the end of the file", n, r.at)
		return ""
	}
	r.at += n
	return r.text[r.at-n : r.at]
}

func (r *reader) word() uint32 {
	if b := r.take(4); r.err == nil {
		return word(b)
	}
	return 0
}

// until0 takes a string and the NUL behind it.
func (r *reader) until0() string {
	s, _, ok := strings.Cut(r.text[min(r.at, len(r.text)):], "\x00")
	if !ok || r.err != nil {
		r.fail("the string at byte %d does not end", r.at)
		return ""
	}
	r.at += len(s) + 1
	return s
}

// word is a big-endian word; b has at least four bytes.
func word(b string) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// checker walks all nodes of an index. In a tree each byte of the file belongs
// to one node at most: where the nodes met hold more bytes than the file, they
// overlap or lead in a circle.
type checker struct {
	ix   *Index
	left int // bytes
}

// check looks at a node whose key has length bytes so far, and at all below it.
func (c *checker) check(word uint32, length int) error {
	offset := word & offsetMask
	if offset < headerSize || int(offset) > len(c.ix.data) {
		return fmt.Errorf("index: node at byte %d: outside the file", offset)
	}
	n, err := c.ix.node(word)
	if err != nil {
		return err
	}
	r := reader{text: n.values}
	for range n.count {
		r.word()
		r.until0()
		if r.err != nil {
			return fmt.Errorf("index: node at byte %d: a value is cut off", offset)
		}
	}
	if c.left -= n.before + r.at; c.left < 0 {
		return fmt.Errorf("index: node at byte %d: nodes overlap", offset)
	}
	if length += len(n.prefix); length > MaxKeyLen {
		return fmt.Errorf("index: node at byte %d: the key is longer than %d bytes", offset, MaxKeyLen)
	}
	for _, child := range n.all() {
		if err := c.check(child, length+1); err != nil {
			return err
		}
	}
	return nil
}
