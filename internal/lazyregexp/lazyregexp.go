// Package lazyregexp has regular expressions that are compiled when they are first
// used. A program that needs few of them starts sooner: with those of kstage, some
// hundred with the messages that it explains, a start made thousands of allocations;
// kstage.TestStart holds what it makes now.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New makes ready an expression, which must be right: the first call of what it returns
// panics if it is not.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
