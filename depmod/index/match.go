package index

import (
	"cmp"
	"slices"
	"strings"
)

// Match returns the values of all keys that match the text, keys being
// patterns as of fnmatch(3) without flags: '*' stands for any characters, '?'
// for one, [abc], [a-z], [!abc] for one of a set, and a backslash takes the
// next character as it is. Sets know no classes such as [:digit:], because
// [Normalize] lets no key with one pass.
//
// The values come lowest priority first; equal priorities stand in the order
// that kmod's modprobe gives them. Two more of kmod's ways are kept: up to the
// first of '*', '?' and '[' a key is compared as it is, backslashes too; and a
// text that itself holds one of these may meet a key twice, as a pattern and as
// the text that it is. The text has to be normalised like the keys; see
// [Normalize].
//
// The keys are read together, branch by branch: one that cannot match any more
// costs nothing, and nothing is ever read back.
func (ix *Index) Match(text string) []Value {
	s := search{ix: ix, text: text}
	s.literal(ix.root, text)
	// kmod puts each value it finds before those of equal priority.
	slices.Reverse(s.found)
	slices.SortStableFunc(s.found, func(a, b Value) int { return cmp.Compare(a.Priority, b.Priority) })
	return s.found
}

// search is one walk through an index.
type search struct {
	ix    *Index
	text  string
	found []Value
}

// literal follows the keys that are no patterns so far; rest is the text that
// they have not met yet.
func (s *search) literal(word uint32, rest string) {
	for {
		n, err := s.ix.node(word)
		if err != nil {
			return
		}
		if i := strings.IndexAny(n.prefix, "*?["); i >= 0 {
			if rest, ok := strings.CutPrefix(rest, n.prefix[:i]); ok {
				s.pattern(&n, n.prefix[i:], newMatcher(rest))
			}
			return
		}
		var ok bool
		if rest, ok = strings.CutPrefix(rest, n.prefix); !ok {
			return
		}
		for _, c := range []byte("*?[") {
			if child, err := s.ix.node(n.child(c)); err == nil {
				m := newMatcher(rest)
				m.feed(c)
				s.pattern(&child, child.prefix, m)
			}
		}
		if rest == "" {
			s.found = n.appendValues(s.found)
			return
		}
		word, rest = n.child(rest[0]), rest[1:]
	}
}

// pattern goes on with keys that are patterns: m has read their part before
// this node's prefix, of which all or an end is given.
func (s *search) pattern(n *node, prefix string, m *matcher) {
	for i := range len(prefix) {
		if !m.feed(prefix[i]) {
			return
		}
	}
	for c, word := range n.all() {
		if m := m.clone(); m.feed(c) {
			if child, err := s.ix.node(word); err == nil {
				s.pattern(&child, child.prefix, m)
			}
		}
	}
	if n.count > 0 && m.matches() {
		s.found = n.appendValues(s.found)
	}
}
