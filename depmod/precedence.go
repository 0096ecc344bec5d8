package depmod

import (
	"path"
	"strings"
)

// precedence decides which of two files with one module name is taken.
type precedence struct {
	// search are the directories of depmod.d's search lines, best first.
	search []string
}

// builtIn stands in a search list for every place that the list does not name.
const builtIn = "built-in"

// defaultSearch holds when no configuration says otherwise.
var defaultSearch = []string{"updates"}

// keeps tells whether the file that is known stays when another with the same
// module name is met. Both get the number of the search word that covers them,
// the last word being 0; what no word covers gets the number of "built-in", -1
// without that word. The known one stays unless the newcomer ranks higher.
//
// Within one word the newcomer is looked at first and ends the test, so of two
// files below the same word the later one wins. That is kmod's rule.
func (p precedence) keeps(known, newcomer string) bool {
	unlisted, k, n := -1, -1, -1
	for i := range p.search {
		word := p.search[len(p.search)-1-i]
		switch {
		case word == builtIn:
			unlisted = i
		case below(newcomer, word):
			n = i
		case below(known, word):
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

func below(file, dir string) bool { return strings.HasPrefix(file, dir+"/") }

// choose leaves one file for each module name, and reports what it passed over.
func (p precedence) choose(files []found) ([]*Module, []Problem) {
	taken := make(map[string]int, len(files))
	modules := make([]*Module, 0, len(files))
	var problems []Problem
	for _, f := range files {
		name := ModuleName(path.Base(f.path))
		m := &Module{Path: f.path, Name: name, real: f.real}
		i, seen := taken[name]
		if !seen {
			taken[name] = len(modules)
			modules = append(modules, m)
			continue
		}
		winner, loser := modules[i], m
		if !p.keeps(winner.Path, m.Path) {
			winner, loser = m, winner
			modules[i] = m
		}
		problems = append(problems, Problem{Rule: RuleDuplicate, Severity: Info, Path: loser.Path,
			Text: "is not indexed: " + winner.Path + " is the same module and comes first"})
	}
	return modules, problems
}
