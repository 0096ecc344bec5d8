package glob

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"usr/share", "usr/share/doc/x", true},
		{"usr/share", "usr/shared", false},
		{"usr/*/doc", "usr/share/doc", true},
		{"usr/*", "usr", false},
		{"**/*.a", "usr/lib/x.a", true},
		{"**/*.a", "x.a", true},
		{"usr/**", "usr", false},
		{"usr/**", "usr/lib/x", true},
		{"usr/**/x", "usr/x", true},
		{"usr/**/x", "usr/a/b/x", true},
		{"a?c", "a/c", false},
		{"[a-c]/d", "b/d", true},
	} {
		parts, err := Split(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := Match(parts, strings.Split(test.path, "/")); got != test.want {
			t.Errorf("%s on %s: %v", test.pattern, test.path, got)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, pattern := range []string{"", "/", "a//b", "a/../b", ".", "a/[b"} {
		if parts, err := Split(pattern); err == nil {
			t.Errorf("%q: %q", pattern, parts)
		}
	}
}
