package closure

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// maxNear is how many names an error offers instead of one that is unknown.
const maxNear = 3

// maxDistance bounds the texts whose distance is worked out, in bytes.
const maxDistance = 64

// near gives the names that look most like an unknown one.
func (c *Catalog) near(text string) []string {
	if symbol, ok := strings.CutPrefix(text, "symbol:"); ok {
		return prefixed("symbol:", nearest(symbol, c.tree.Symbols()))
	}
	if busAlias().MatchString(text) {
		return nil
	}
	var names []string
	directories := make(map[string]bool)
	c.all(func(p string, t target) {
		if !strings.Contains(text, "/") {
			names = append(names, name(t))
			return
		}
		stem, _, _ := strings.Cut(path.Base(p), ".")
		names = append(names, path.Join(path.Dir(p), stem))
		for dir := path.Dir(p); dir != "." && !directories[dir]; dir = path.Dir(dir) {
			directories[dir] = true
			names = append(names, dir+"/")
		}
	})
	slices.Sort(names)
	if strings.Contains(text, "/") {
		return nearest(text, names)
	}
	return nearest(underscores(text), names)
}

func name(t target) string {
	if t.module != nil {
		return t.module.Name
	}
	return t.builtin
}

func prefixed(prefix string, names []string) []string {
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// nearest sorts out of names those that differ from text by few letters, and then
// those that hold it.
func nearest(text string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	most := (len(text) + 2) / 4
	for _, n := range names {
		if len(text) > maxDistance || len(n) > 2*maxDistance {
			continue
		}
		if max(len(n), len(text))-min(len(n), len(text)) <= most {
			if d := distance(text, n); d <= most {
				found = append(found, candidate{n, d})
				continue
			}
		}
		if len(text) >= 3 && strings.Contains(n, text) {
			found = append(found, candidate{n, most + len(n)})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var near []string
	for _, c := range found[:min(len(found), maxNear)] {
		if found[0].distance <= most && c.distance > found[0].distance {
			break // one is most likely meant
		}
		near = append(near, c.name)
	}
	return near
}

// distance counts the letters that have to be put in, taken out, exchanged or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows[0], rows[1], rows[2] = above, row, before
	}
	return rows[1][len(b)]
}
