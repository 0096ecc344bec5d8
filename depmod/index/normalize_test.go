package index

import (
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	long := strings.Repeat("-", 4095)
	for _, c := range []struct{ alias, want string }{
		{"", ""}, {"plain", "plain"}, {"a-b", "a_b"}, {"a-b[c-d]-e", "a_b[c-d]_e"}, {"[-][-]", "[-][-]"}, {"[]-", "[]_"}, {"[[-]", "[[-]"},
		{long, strings.Repeat("_", 4095)}, {long + "-", strings.Repeat("_", 4095)}, // kmod 34 keeps 4095
		{long[:4090] + "[a-b]x", strings.Repeat("_", 4090) + "[a-b]"},
		{"a]", "!"}, {"a[", "!"}, {"[a]]", "!"}, {"[[a]]", "!"}, {long[:4090] + "[abcdefg]", "!"},
	} {
		got, err := Normalize(c.alias)
		if c.want == "!" {
			if err == nil || got != "" {
				t.Errorf("%.20q…: %q, want an error", c.alias, got)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%.20q…: %q and %v", c.alias, got, err)
		}
	}
	_, err := Normalize("a]")
	if want := `unmatched bracket in "a]"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
