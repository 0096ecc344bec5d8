package main

import (
	"bufio"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
)

// depsReport is what deps --json prints.
type depsReport struct {
	Version string       `json:"version"`
	Dir     string       `json:"dir"`
	Modules []depJSON    `json:"modules"`  // in the order of loading
	BuiltIn []depJSON    `json:"built_in"` // part of the kernel
	Choices []choiceJSON `json:"choices"`
	// Problems are findings that did not stop the work.
	Problems []depmod.Problem `json:"problems"`
}

type depJSON struct {
	Name    string       `json:"name"`
	Path    string       `json:"path,omitempty"` // below the root
	Mark    closure.Kind `json:"mark"`           // chosen, hard, pre, post or weak
	Why     []reasonJSON `json:"why"`
	Options []string     `json:"options,omitempty"` // of modprobe.d
}

type reasonJSON struct {
	Kind closure.Kind `json:"kind"`
	By   string       `json:"by,omitempty"`   // the module that wants it
	Text string       `json:"text,omitempty"` // the symbol, the name it is asked by, or the choice
	From string       `json:"from,omitempty"` // where the choice stands
}

type choiceJSON struct {
	Text    string   `json:"text"`
	From    string   `json:"from,omitempty"`
	Modules []string `json:"modules"` // names; empty when an optional one, or a device, has none
	BuiltIn []string `json:"built_in,omitempty"`
}

func (d *depsCommand) depsReport(set *closure.Set, problems []depmod.Problem) depsReport {
	r := depsReport{Version: path.Base(d.dir), Dir: d.dir, Modules: []depJSON{}, BuiltIn: []depJSON{}, Choices: []choiceJSON{},
		Problems: append([]depmod.Problem{}, problems...)}
	for _, m := range set.Members {
		j := memberJSON(m)
		j.Path = path.Join(d.dir, m.Module.Path)
		r.Modules = append(r.Modules, j)
	}
	for _, m := range set.BuiltIn {
		r.BuiltIn = append(r.BuiltIn, memberJSON(m))
	}
	for _, p := range set.Picks {
		c := choiceJSON{Text: p.Choice.Text, From: p.Choice.From, Modules: []string{}, BuiltIn: p.BuiltIn}
		for _, m := range p.Modules {
			c.Modules = append(c.Modules, m.Name)
		}
		r.Choices = append(r.Choices, c)
	}
	return r
}

func memberJSON(m *closure.Member) depJSON {
	j := depJSON{Name: m.Name, Mark: m.Mark, Options: m.Options}
	for _, r := range m.Why {
		if r.By == nil {
			j.Why = append(j.Why, reasonJSON{Kind: r.Kind, Text: r.Choice.Text, From: r.Choice.From})
		} else {
			j.Why = append(j.Why, reasonJSON{Kind: r.Kind, By: r.By.Name, Text: r.Text})
		}
	}
	return j
}

// An edge is a tie between two modules, for printing.
type edge struct {
	to   *closure.Member
	kind closure.Kind
	text string
}

// edges gives what each member wants, in the order of loading.
func edges(set *closure.Set) map[string][]edge {
	all := make(map[string][]edge)
	for _, m := range slices.Concat(set.Members, set.BuiltIn) {
		for _, r := range m.Why {
			if r.By != nil {
				all[r.By.Name] = append(all[r.By.Name], edge{m, r.Kind, r.Text})
			}
		}
	}
	return all
}

// printTree prints each chosen module with what it wants below it. What has been
// shown with its own needs is not shown so again.
func printTree(w *bufio.Writer, set *closure.Set) {
	t := treePrinter{w: w, edges: edges(set), shown: make(map[string]bool)}
	for _, m := range slices.Concat(set.Members, set.BuiltIn) {
		if m.Mark == closure.Chosen {
			t.print(m, "", "", "")
		}
	}
}

type treePrinter struct {
	w     *bufio.Writer
	edges map[string][]edge
	shown map[string]bool
}

func (t *treePrinter) print(m *closure.Member, head, indent, note string) {
	fmt.Fprint(t.w, head, harmless(m.Name+note))
	below := strongest(t.edges[m.Name])
	switch {
	case m.Module == nil:
		fmt.Fprint(t.w, " [part of the kernel]")
	case t.shown[m.Name] && len(below) > 0:
		fmt.Fprint(t.w, " [see above]")
		below = nil
	}
	fmt.Fprintln(t.w)
	t.shown[m.Name] = true
	for i, e := range below {
		head, more := "├── ", "│   "
		if i == len(below)-1 {
			head, more = "└── ", "    "
		}
		note := ""
		if e.kind != closure.Hard {
			note = fmt.Sprintf(" (%v: %s)", e.kind, e.text)
		}
		t.print(e.to, indent+head, indent+more, note)
	}
}

// strongest leaves one edge to each module; those of one module come strongest first.
func strongest(edges []edge) (some []edge) {
	for _, e := range edges {
		if !slices.ContainsFunc(some, func(s edge) bool { return s.to == e.to }) {
			some = append(some, e)
		}
	}
	return some
}

// printDot prints a graph: what was chosen has a thick frame, what modules can do
// without is dashed.
func printDot(w *bufio.Writer, set *closure.Set) {
	fmt.Fprintln(w, "digraph modules {\n\tnode [shape=box];")
	for _, m := range slices.Concat(set.Members, set.BuiltIn) {
		style := ""
		switch {
		case m.Module == nil:
			style = " [style=dotted]"
		case m.Mark == closure.Chosen:
			style = " [penwidth=2]"
		case m.Mark > closure.Hard:
			style = " [style=dashed]"
		}
		fmt.Fprintf(w, "\t%s%s;\n", dotQuote(m.Name), style)
	}
	all := edges(set)
	for _, m := range set.Members {
		for _, e := range all[m.Name] {
			label := e.text
			if e.kind != closure.Hard {
				label = e.kind.String() + ": " + label
			}
			style := ""
			if e.kind != closure.Hard {
				style = ", style=dashed"
			}
			fmt.Fprintf(w, "\t%s -> %s [label=%s%s];\n", dotQuote(m.Name), dotQuote(e.to.Name), dotQuote(label), style)
		}
	}
	fmt.Fprintln(w, "}")
}

var dotSpecial = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// dotQuote makes a text a quoted string of graphviz.
func dotQuote(text string) string {
	return `"` + dotSpecial.Replace(harmless(text)) + `"`
}
