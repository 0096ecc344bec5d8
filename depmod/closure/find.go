package closure

import (
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/index"
	"github.com/kstage/kstage/internal/glob"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// busAlias is how aliases of devices begin: the bus, then a colon.
var busAlias = lazyregexp.New(`^[A-Za-z0-9_-]+:`)

// find gives what a choice without its '!' stands for.
func (c *Catalog) find(text string, device bool) []target {
	switch {
	case device:
		return c.lookup(text)
	case busAlias().MatchString(text):
		if found := c.lookup(text); len(found) > 0 || !isPattern(text) {
			return found
		}
		return c.matchAliases(text)
	case strings.Contains(text, "/"):
		return c.matchPaths(text)
	case isPattern(text):
		if found := c.matchNames(text); len(found) > 0 {
			return found
		}
		return c.matchAliases(text)
	}
	if depmod.ModuleSuffix(text) != "" {
		text = depmod.ModuleName(text)
	}
	return c.lookup(text)
}

// all yields every module, then those that are part of the kernel, by path.
func (c *Catalog) all(yield func(path string, t target)) {
	for _, m := range c.tree.Modules {
		yield(m.Path, target{module: m})
	}
	paths, _ := c.tree.BuiltIn()
	for _, p := range paths {
		yield(p, target{builtin: depmod.ModuleName(p)})
	}
}

func (c *Catalog) matchNames(pattern string) (found []target) {
	pattern = normalized(pattern)
	c.all(func(p string, t target) {
		if ok, _ := path.Match(pattern, depmod.ModuleName(p)); ok { // the pattern has been checked
			found = append(found, t)
		}
	})
	return found
}

// normalized puts underscores for the dashes of a pattern, but for those in brackets.
func normalized(pattern string) string {
	text, err := index.Normalize(pattern)
	if err != nil { // it has a bracket that stands for itself
		return pattern
	}
	return text
}

// matchPaths takes a file, a directory with all below it, or a pattern of either.
// What follows the module's name in a file's does not matter, nor does kernel/ at the
// beginning.
func (c *Catalog) matchPaths(text string) (found []target) {
	ending := ""
	if suffix := depmod.ModuleSuffix(text); suffix != "" { // no directory is meant
		ending = ".ko"
		text = strings.TrimSuffix(text, suffix) + ending
	}
	parts, err := glob.Split(normalized(text))
	if err != nil {
		return nil
	}
	directory := strings.HasSuffix(text, "/")
	c.all(func(p string, t target) {
		p = underscores(strings.TrimSuffix(p, depmod.ModuleSuffix(p)) + ending)
		have := strings.Split(p, "/")
		if directory {
			have = have[:len(have)-1]
		}
		if glob.Match(parts, have) || have[0] == "kernel" && glob.Match(parts, have[1:]) {
			found = append(found, t)
		}
	})
	return found
}

// matchAliases takes modules of which an alias, read as text, matches the pattern.
func (c *Catalog) matchAliases(pattern string) (found []target) {
	pattern = normalized(pattern)
	matches := func(alias string) bool {
		// '/' is nothing special in an alias
		alias, err := index.Normalize(strings.ReplaceAll(alias, "/", "_"))
		ok, _ := path.Match(pattern, alias) // the pattern has been checked
		return ok && err == nil
	}
	for _, m := range c.tree.Modules {
		if m.Info == nil {
			continue
		}
		for alias := range m.Info.All("alias") {
			if matches(alias) {
				found = append(found, target{module: m, aliased: true})
				break
			}
		}
	}
	for alias, name := range c.tree.BuiltInAliases() {
		if t := (target{builtin: name, aliased: true}); matches(alias) && !slices.Contains(found, t) {
			found = append(found, t)
		}
	}
	return found
}
