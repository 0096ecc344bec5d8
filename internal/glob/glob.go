// Package glob matches paths of a tree with patterns: '*' and '?' match no slash,
// '**' as a part stands for any number of directories, and what matches a directory
// matches all below it.
package glob

import (
	"fmt"
	"path"
	"strings"
)

// Split cuts a pattern into its parts, and says what is wrong with one.
func Split(pattern string) ([]string, error) {
	parts := strings.Split(strings.Trim(pattern, "/"), "/")
	for _, part := range parts {
		if _, err := path.Match(part, ""); err != nil || part == "" || part == "." || part == ".." {
			return nil, fmt.Errorf("%q is no pattern for a name", part)
		}
	}
	return parts, nil
}

// Match tells whether a pattern matches the path made of parts, or a directory
// above it.
func Match(pattern, parts []string) bool {
	switch {
	case len(pattern) == 0:
		return true
	case pattern[0] != "**":
	case len(pattern) == 1:
		return len(parts) > 0
	default:
		for i := range parts {
			if Match(pattern[1:], parts[i:]) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	ok, _ := path.Match(pattern[0], parts[0]) // Split has tried the pattern
	return ok && Match(pattern[1:], parts[1:])
}
