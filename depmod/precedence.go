package depmod

import (
	"path"
	"slices"
	"strings"
)

// Words of a search line that are no directories.
const (
	builtIn  = "built-in" // every place that the list does not name
	external = "external" // the external directories
)

// defaultSearch holds when no configuration says otherwise.
var defaultSearch = []string{"updates"}

// keeps tells whether the file that is known stays when another with the same
// module name is met.
//
// An override decides, the newest first. Else both get the number of the search
// word that covers them, the last word being 0; what no word covers gets the
// number of "built-in", -1 without that word. The known one stays unless the
// newcomer ranks higher. Within one directory the newcomer is looked at first
// and ends the test, so of two files below the same word the later one wins.
// That is kmod's rule.
func (c *Config) keeps(known, newcomer string) bool {
	for _, override := range slices.Backward(c.Overrides) {
		if stem(newcomer) == override {
			return false
		}
		if stem(known) == override {
			return true
		}
	}
	unlisted, k, n := -1, -1, -1
	for i, place := range c.places() {
		switch {
		case place == builtIn:
			unlisted = i
		case path.IsAbs(place): // external; both are looked at
			if below(newcomer, place) {
				n = i
			}
			if below(known, place) {
				k = i
			}
		case below(newcomer, place):
			n = i
		case below(known, place):
			k = i
		}
	}
	if k < 0 {
		k = unlisted
	}
	if n < 0 {
		n = unlisted
	}
	return n <= k
}

// places lists the search words from the last to the first, with the external
// directories in the place of that word.
func (c *Config) places() []string {
	words := c.Search
	if len(words) == 0 {
		words = defaultSearch
	}
	var places []string
	for _, word := range slices.Backward(words) {
		if word != external {
			places = append(places, word)
			continue
		}
		for _, dir := range slices.Backward(c.Externals) {
			places = append(places, dir)
		}
	}
	return places
}

func below(file, dir string) bool { return strings.HasPrefix(file, dir+"/") }

// stem is a file's path without what follows the module name.
func stem(file string) string {
	dir, base := path.Split(file)
	name, _, _ := strings.Cut(base, ".")
	return dir + name
}

// choose leaves one file for each module name, in the same memory, and reports what it
// passed over.
func (c *Config) choose(files []found) ([]found, []Problem) {
	taken := make(map[string]int, len(files))
	chosen := files[:0]
	var problems []Problem
	for _, f := range files {
		name := ModuleName(f.path)
		i, seen := taken[name]
		if !seen {
			taken[name] = len(chosen)
			chosen = append(chosen, f)
			continue
		}
		winner, loser := chosen[i], f
		if !c.keeps(winner.path, f.path) {
			winner, loser = f, winner
			chosen[i] = f
		}
		problems = append(problems, Problem{Rule: RuleDuplicate, Severity: Info, Path: loser.path,
			Text: "is not indexed: " + winner.path + " is the same module and comes first"})
	}
	return chosen, problems
}
