package closure

import (
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
)

// A need is a tie from one module to a target.
type need struct {
	kind Kind
	text string
	to   target
}

// soft lists what a module asks for besides the symbols it needs: by what it declares
// itself, then by modprobe.d. A name that nobody has is passed over, as modprobe does.
func (c *Catalog) soft(m *depmod.Module) []need {
	var needs []need
	add := func(kind Kind, text string) {
		for _, t := range c.lookup(text) {
			if t.module != m {
				needs = append(needs, need{kind, text, t})
			}
		}
	}
	weak := func(texts []string) {
		for _, text := range texts {
			for word := range strings.FieldsSeq(text) {
				add(Weak, word)
			}
		}
	}
	if m.Info != nil {
		for text := range m.Info.All("softdep") {
			softdeps(text, add)
		}
		weak(slices.Collect(m.Info.All("weakdep")))
	}
	for _, text := range c.config.Softdeps[m.Name] {
		softdeps(text, add)
	}
	weak(c.config.Weakdeps[m.Name])
	return needs
}

// needs lists all ties of a module.
func (c *Catalog) needs(m *depmod.Module) []need {
	var needs []need
	for d, symbol := range m.Direct {
		if d != m {
			needs = append(needs, need{Hard, symbol, target{module: d}})
		}
	}
	return append(needs, c.soft(m)...)
}

// order lists the modules as modprobe loads them: for each that is asked for, what it
// needs by ascending distance, and around each of these what its softdeps want. Each
// module is asked for once, so circles of softdeps end. What may be needed later
// follows at the end.
func (r *resolver) order() {
	for _, m := range r.roots {
		r.visit(m)
	}
	for i := 0; i < len(r.load); i++ {
		for _, n := range r.soft(r.load[i]) {
			if n.kind == Weak && n.to.module != nil {
				r.visit(n.to.module)
			}
		}
	}
}

func (r *resolver) visit(m *depmod.Module) {
	if r.visited[m] || !r.taken(m) {
		return
	}
	r.visited[m] = true
	for _, d := range slices.Backward(m.Deps) {
		r.list(d)
	}
	r.list(m)
}

// list puts a module, all of whose Deps are listed, behind the others.
func (r *resolver) list(m *depmod.Module) {
	if r.set.has[m] {
		return
	}
	soft := r.soft(m)
	for _, n := range soft {
		if n.kind == Pre && n.to.module != nil {
			r.visit(n.to.module)
		}
	}
	if !r.set.has[m] { // unless one of those needs m itself
		r.set.has[m] = true
		r.load = append(r.load, m)
	}
	for _, n := range soft {
		if n.kind == Post && n.to.module != nil {
			r.visit(n.to.module)
		}
	}
}

// mark finds the strongest tie of each module that is listed, and all reasons for it.
func (r *resolver) mark() {
	members := make(map[*depmod.Module]*Member)
	for _, m := range r.load {
		member := &Member{Name: m.Name, Module: m, Mark: Weak, Options: r.config.Options[m.Name]}
		for _, at := range r.wanted[m] {
			member.Mark = Chosen
			member.Why = append(member.Why, Reason{Kind: Chosen, Choice: r.set.Picks[at].Choice})
		}
		members[m] = member
		r.set.Members = append(r.set.Members, member)
	}
	needs := make(map[*depmod.Module][]need)
	for _, m := range r.load {
		needs[m] = r.needs(m)
		for _, n := range needs[m] {
			if to := members[n.to.module]; to != nil {
				to.Why = append(to.Why, Reason{Kind: n.kind, By: m, Text: n.text})
			}
		}
	}
	for kind := Chosen; kind < Weak; kind++ {
		r.spread(kind, members, needs)
	}
	r.builtIns(members, needs)
}

// spread marks what modules of one mark need. Marks never get stronger on the way, so
// that one pass for each, from the strongest on, is enough.
func (r *resolver) spread(kind Kind, members map[*depmod.Module]*Member, needs map[*depmod.Module][]need) {
	var todo []*depmod.Module
	for _, m := range r.load {
		if members[m].Mark == kind {
			todo = append(todo, m)
		}
	}
	for len(todo) > 0 {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, n := range needs[m] {
			to := members[n.to.module]
			if to == nil || max(kind, n.kind) >= to.Mark {
				continue
			}
			if to.Mark = max(kind, n.kind); to.Mark == kind {
				todo = append(todo, to.Module)
			}
		}
	}
}

// builtIns lists what is part of the kernel and was asked for.
func (r *resolver) builtIns(members map[*depmod.Module]*Member, needs map[*depmod.Module][]need) {
	all := make(map[string]*Member)
	member := func(name string, mark Kind, why Reason) {
		if all[name] == nil {
			all[name] = &Member{Name: name, Mark: mark, Options: r.config.Options[name]}
			r.set.BuiltIn = append(r.set.BuiltIn, all[name])
		}
		all[name].Mark = min(all[name].Mark, mark)
		all[name].Why = append(all[name].Why, why)
	}
	for _, pick := range r.set.Picks {
		for _, name := range pick.BuiltIn {
			member(name, Chosen, Reason{Kind: Chosen, Choice: pick.Choice})
		}
	}
	for _, m := range r.load {
		for _, n := range needs[m] {
			if n.to.module == nil {
				member(n.to.builtin, max(members[m].Mark, n.kind), Reason{Kind: n.kind, By: m, Text: n.text})
			}
		}
	}
	slices.SortFunc(r.set.BuiltIn, func(a, b *Member) int { return strings.Compare(a.Name, b.Name) })
}

// note tells what modprobe.d does to members, and which choices came to nothing.
func (r *resolver) note() {
	for _, pick := range r.set.Picks {
		if pick.Choice.Device {
			continue // most devices have no module, and there are many
		}
		for _, m := range pick.Blacklisted {
			r.problem(depmod.Info, RuleBlacklisted, "choose it by its name to take it all the same",
				"%v: %s is not taken, as modprobe.d blacklists its aliases", pick.Choice, m.Name)
		}
		if pick.Choice.Optional && len(pick.Modules)+len(pick.BuiltIn)+len(pick.Blacklisted) == 0 {
			r.problem(depmod.Info, RuleOptional, "", "%v: there is no such module, and it is optional", pick.Choice)
		}
	}
	for _, m := range r.set.Members {
		if command := r.config.Install[m.Name]; command != "" {
			r.problem(depmod.Info, RuleInstall, "", "%s: modprobe does not load it but runs: %s", m.Name, command)
		}
		if command := r.config.Remove[m.Name]; command != "" {
			r.problem(depmod.Info, RuleInstall, "", "%s: to remove it modprobe runs: %s", m.Name, command)
		}
	}
}
