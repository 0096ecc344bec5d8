package index

import (
	"fmt"
	"strings"
)

// maxAlias is the longest normalised alias of kmod, in bytes.
const maxAlias = 4095

// Normalize makes an alias, or a text to be looked up, comparable: '-' becomes
// '_', but not inside brackets. A '[' without ']' or the reverse is an error. A
// text longer than 4095 bytes is cut there, as kmod does; a bracket that goes on
// there is an error.
func Normalize(alias string) (string, error) {
	if !strings.ContainsAny(alias, "-[]") && len(alias) <= maxAlias {
		return alias, nil
	}
	out := make([]byte, 0, min(len(alias), maxAlias))
	inside := false
	for i := 0; i < len(alias) && len(out) < maxAlias; i++ {
		c := alias[i]
		switch {
		case c == ']' && !inside:
			return "", fmt.Errorf("unmatched bracket in %q", alias)
		case c == ']':
			inside = false
		case c == '[':
			inside = true
		case c == '-' && !inside:
			c = '_'
		}
		out = append(out, c)
	}
	if inside {
		return "", fmt.Errorf("unmatched bracket in %q", alias)
	}
	return string(out), nil
}
