package index

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fnmatch feeds a whole pattern to a matcher.
func fnmatch(pattern, text string) bool {
	m := newMatcher(text)
	for _, c := range []byte(pattern) {
		if !m.feed(c) {
			return false
		}
	}
	return m.matches()
}

// The answers are those of fnmatch(3) of GNU libc 2.36, flags 0.
func TestFnmatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"abc", "abc", true}, {"abc", "abd", false},
		{"*", "", true}, {"*", "anything", true}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"**a**", "bab", true},
		{"*/*", ".a/b", true}, {"?", "", false}, {"?", "/", true}, {"a?c", "abc", true}, {"??", "a", false}, {"*?", "", false},
		{"[abc]", "b", true}, {"[abc]", "d", false}, {"[abc]", "", false}, {"[!abc]", "d", true}, {"[!abc]", "b", false}, {"[^a]", "b", true}, {"[^a]", "a", false},
		{"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[z-a]", "m", false}, {"[a-c-e]", "-", true}, {"[a-c-e]", "d", false},
		{"[a-]", "-", true}, {"[-a]", "-", true}, {"[--0]", "/", true}, {"[!-b]", "a", true},
		{"[]a]", "]", true}, {"[!]a]", "b", true}, {"[!]a]", "]", false}, {"[a!]", "!", true}, {"[[]", "[", true},
		{`[a\]]`, "]", true}, {`[a-\c]`, "b", true}, {`[\!a]`, "!", true}, {`[\\]`, `\`, true}, {`[a\-c]`, "b", false},
		{"[abc", "[abc", true}, {"[abc", "a", false}, {"[]", "[]", true}, {"[!]", "[!]", true}, {"a[]b", "a[]b", true}, {"[a[", "[a[", true},
		{"*[", "x[", true}, {"[a*", "[abc", true}, {`[a\*`, "[a*", true}, {`[\]`, `[]`, true}, {`[\]`, `\`, false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`\a`, "a", true}, {`a\`, `a\`, false}, {`a\`, "a", false}, {`\[a]`, "[a]", true}, {`\\`, `\`, true},
		{"[\x80-\xff]", "\x90", true}, {"[0-9a-f]*[!x]", "7y", true},
	} {
		if got := fnmatch(c.pattern, c.text); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.text, got)
		}
	}
}

// A pattern that makes a search with backtracking take ages.
func TestNoBacktracking(t *testing.T) {
	pattern := strings.Repeat("*a", 500) + "b"
	if text := strings.Repeat("a", 1000); fnmatch(pattern, text) || !fnmatch(pattern, text+"b") {
		t.Error("wrong answer")
	}
}

// The answers are those of modprobe -R of kmod 34 for built-in modules m1, m2,
// … with these aliases, in this order.
func TestMatchOrder(t *testing.T) {
	var b Builder
	for i, alias := range []string{"x*", "xa?", "xab", "xa[b]", "x*b", "*", "xa?", "?ab", "xa*"} {
		add(t, &b, alias, fmt.Sprintf("m%d", i+1), 0)
	}
	ix := open(t, write(t, &b))
	for text, want := range map[string]string{
		"xab": "m3 m4 m2 m7 m9 m1 m5 m8 m6",
		"xa":  "m9 m1 m6",
		"x*":  "m1 m1 m6",
		"x*b": "m5 m1 m5 m6",
		"xa?": "m2 m7 m2 m7 m9 m1 m6",
		"*":   "m6 m6",
	} {
		if got := texts(ix.Match(text)); got != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}

func texts(values []Value) string {
	var s []string
	for _, v := range values {
		s = append(s, v.Text)
	}
	return strings.Join(s, " ")
}

func TestMatch(t *testing.T) {
	var b Builder
	for i, alias := range []string{"pci:v00001AF4d*sv*", "pci:v00001AF4d00001000sv*", "pci:v*", "usb:v[0-9]p*", `lit\eral`, `w\*d?`, "pci:", "usb:v["} {
		add(t, &b, alias, fmt.Sprint(9-i), uint32(9-i))
	}
	ix := open(t, write(t, &b))
	for text, want := range map[string]string{
		"pci:v00001AF4d00001000sv1": "7 8 9", // by priority, not by place
		"pci:v00001AF4d00001001sv":  "7 9",
		"pci:v1":                    "7",
		"pci:":                      "3",
		"pci":                       "",
		"usb:v5p":                   "6",
		"usb:vAp":                   "",
		"usb:v[":                    "2", // a set without end
		`lit\eral`:                  "5", // up to the first of *?[ a backslash is one
		"literal":                   "",
		`w\*d1`:                     "4",
		"w*d1":                      "",
		"":                          "",
	} {
		if got := texts(ix.Match(text)); got != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}

// matchEach is Match done the slow way, key by key, for texts without '*', '?'
// and '['.
func matchEach(ix *Index, text string) (found []Value) {
	for key, value := range ix.All() {
		i := strings.IndexAny(key, "*?[")
		if i < 0 {
			i = len(key)
		}
		if rest, ok := strings.CutPrefix(text, key[:i]); ok && fnmatch(key[i:], rest) {
			found = append(found, value)
		}
	}
	return found
}

func compare(a, b Value) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Text, b.Text))
}

// plain makes a text of a pattern.
func plain(key string) string {
	return strings.NewReplacer("*", "ab", "?", "c", "[", "a").Replace(key)
}

func checkMatch(t *testing.T, ix *Index, text string) (found int) {
	t.Helper()
	got, want := ix.Match(text), matchEach(ix, text)
	if !slices.IsSortedFunc(got, func(a, b Value) int { return cmp.Compare(a.Priority, b.Priority) }) {
		t.Errorf("%q: not by priority: %v", text, got)
	}
	slices.SortFunc(got, compare)
	slices.SortFunc(want, compare)
	if !slices.Equal(got, want) {
		t.Errorf("%q: %v, want %v", text, got, want)
	}
	return len(got)
}

func TestMatchFindsAll(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var b Builder
	for _, p := range randomPairs(random, 2000) {
		add(t, &b, p.key, p.value.Text, p.value.Priority)
	}
	ix := open(t, write(t, &b))
	found := 0
	for _, p := range randomPairs(random, 300) {
		found += checkMatch(t, ix, plain(p.key))
	}
	if found < 1000 {
		t.Errorf("only %d hits: the test tests little", found)
	}
}
