package index

import "slices"

// matcher compares a text with a pattern that comes character by character.
// It keeps every place of the text that the pattern read so far can reach, so
// that it never goes back: a character of the pattern costs one pass over the
// text at most.
type matcher struct {
	text string
	at   []bool // at[i]: the pattern so far matches text[:i]

	escaped bool   // a backslash came last
	set     *set   // a set is being read; at is the state before it
	pending []byte // the characters of that set, without its '['
}

func newMatcher(text string) *matcher {
	m := &matcher{text: text, at: make([]bool, len(text)+1)}
	m.at[0] = true
	return m
}

func (m *matcher) clone() *matcher {
	c := *m
	c.at = slices.Clone(m.at)
	c.pending = slices.Clip(m.pending)
	if m.set != nil {
		set := *m.set
		c.set = &set
	}
	return &c
}

// feed reads the next character of the pattern. It is false when the pattern
// cannot match any more, whatever follows.
func (m *matcher) feed(c byte) bool {
	switch {
	case m.set != nil:
		if m.pending = append(m.pending, c); !m.set.feed(c) {
			return true
		}
		set := m.set
		m.set, m.pending = nil, nil
		return m.step(set.has)
	case m.escaped:
		m.escaped = false
	case c == '\\':
		m.escaped = true
		return true
	case c == '*':
		first := slices.Index(m.at, true)
		for i := first; i >= 0 && i < len(m.at); i++ {
			m.at[i] = true
		}
		return first >= 0
	case c == '?':
		return m.step(func(byte) bool { return true })
	case c == '[':
		m.set = new(set)
		return true
	}
	return m.step(func(t byte) bool { return t == c })
}

// step lets the pattern match one more character of the text, if it is one of
// those wanted.
func (m *matcher) step(wanted func(byte) bool) bool {
	alive := false
	for i := len(m.text); i > 0; i-- {
		m.at[i] = m.at[i-1] && wanted(m.text[i-1])
		alive = alive || m.at[i]
	}
	m.at[0] = false
	return alive
}

// matches tells whether the pattern, should it end here, matches the text.
func (m *matcher) matches() bool {
	if m.escaped {
		return false
	}
	if m.set == nil {
		return m.at[len(m.text)]
	}
	// The set has no end. Its '[' stands for itself then, and so does each one
	// after it.
	end := &matcher{text: m.text, at: slices.Clone(m.at)}
	for _, c := range append([]byte("["), m.pending...) {
		if c == '[' {
			end.escaped = true
		}
		if !end.feed(c) {
			return false
		}
	}
	return end.matches()
}

// set is a bracket expression, read character by character:
//
//	[ ! or ^, then characters and ranges, the first of which may be ']', then ]
type set struct {
	in      [256 / 8]byte
	negated bool
	stage   int  // 0 nothing read, 1 the '!' read, 2 characters read
	last    byte // the character before, which may begin a range
	hasLast bool
	inRange bool // "a-" read
	escaped bool // a backslash came last
}

// feed reads one character after the '['. It is true when the set is complete.
func (s *set) feed(c byte) bool {
	if s.stage == 0 && (c == '!' || c == '^') {
		s.negated = true
		s.stage = 1
		return false
	}
	switch {
	case s.escaped:
		s.member(c)
	case c == '\\':
		s.escaped = true
	case c == ']' && s.stage == 2:
		if s.inRange {
			s.add('-')
		}
		return true
	case c == '-' && s.hasLast && !s.inRange:
		s.inRange = true
	default:
		s.member(c)
	}
	s.stage = 2
	return false
}

// member reads a character that stands for itself or ends a range.
func (s *set) member(c byte) {
	s.escaped = false
	if !s.inRange {
		s.add(c)
		s.last, s.hasLast = c, true
		return
	}
	for m := int(s.last); m <= int(c); m++ {
		s.add(byte(m))
	}
	s.inRange, s.hasLast = false, false
}

func (s *set) add(c byte) { s.in[c/8] |= 1 << (c % 8) }

func (s *set) has(c byte) bool { return s.in[c/8]>>(c%8)&1 == 1 != s.negated }
