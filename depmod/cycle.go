package depmod

import (
	"fmt"
	"strings"
)

// A CycleError tells that modules need each other in a circle, so that none of
// them can be loaded first.
type CycleError struct {
	// Cycles are the names along each circle, the first one again at the end.
	// One name alone is a module that kmod names although it only stands
	// behind a circle.
	Cycles [][]string
	Count  int // modules in Cycles
}

func (e *CycleError) Error() string {
	var text []string
	for _, c := range e.Cycles {
		if len(c) > 1 {
			text = append(text, "modules need each other in a circle: "+strings.Join(c, " -> "))
		}
	}
	if len(text) == 0 {
		return fmt.Sprintf("%d modules need each other in circles", e.Count)
	}
	return strings.Join(text, "\n")
}

// maxCycleSteps bounds the search, since the ways through a thicket of circles
// are more than anybody wants to read.
const maxCycleSteps = 1 << 16

// step is one module on a way from a root.
type step struct {
	*Module
	from *step
}

func (s *step) passes(m *Module) bool {
	for ; s != nil; s = s.from {
		if s.Module == m {
			return true
		}
	}
	return false
}

// findCycles walks from each module that got no number, depth first, until it
// comes back to where it began, and names the circles in kmod's order. Unlike
// kmod's, the walk does not follow a circle that does not hold its root, which
// would never end.
func (t *Tree) findCycles() error {
	e := &CycleError{}
	visited, reported, done := make(map[*Module]bool), make(map[*Module]bool), make(map[*Module]bool)
	for _, root := range t.Modules {
		if root.rank >= 0 || done[root] {
			continue
		}
		stack := []*step{{root, nil}}
		for steps := 0; len(stack) > 0 && steps < maxCycleSteps; steps++ {
			s := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if s.Module == root && visited[root] && (s.from != nil || !inCircle(root)) {
				e.report(s, reported, done)
				continue
			}
			visited[s.Module] = true
			if len(s.direct) == 0 {
				done[s.Module] = true
			}
			for _, d := range s.direct {
				if d.module == root || !s.passes(d.module) {
					stack = append(stack, &step{d.module, s})
				}
			}
		}
	}
	return e
}

// inCircle tells whether a way leads from m back to it.
func inCircle(m *Module) bool {
	seen := make(map[*Module]bool)
	for todo := []*Module{m}; len(todo) > 0; {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, d := range last.direct {
			if d.module == m {
				return true
			}
			if !seen[d.module] {
				seen[d.module] = true
				todo = append(todo, d.module)
			}
		}
	}
	return false
}

// report notes the way that led to s, from its root on.
func (e *CycleError) report(s *step, reported, done map[*Module]bool) {
	names := []string{s.Name}
	for s = s.from; s != nil; s = s.from {
		names = append([]string{s.Name}, names...)
		if done[s.Module] = true; !reported[s.Module] {
			reported[s.Module] = true
			e.Count++
		}
	}
	e.Cycles = append(e.Cycles, names)
}
