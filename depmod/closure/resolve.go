package closure

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
)

// A Set is the modules that a choice takes.
type Set struct {
	// Members are in an order in which they can be loaded: each one behind what it
	// needs, and where modules ask for it behind or before others. Those marked
	// [Weak] come last, as nobody needs them to be loaded.
	Members []*Member
	// BuiltIn are the modules that are part of the kernel and were chosen, or are
	// wanted by a member, by name.
	BuiltIn []*Member
	// Picks tell for each choice what it stands for.
	Picks []Pick
	// Problems are what did not stop the work.
	Problems []depmod.Problem

	has map[*depmod.Module]bool
}

// Has tells whether a module of the catalog's tree is in the set.
func (s *Set) Has(m *depmod.Module) bool { return s.has[m] }

// A Member is a module in a [Set].
type Member struct {
	Name   string
	Module *depmod.Module // nil when it is part of the kernel
	// Mark is the strongest tie that binds it to what was chosen.
	Mark Kind
	// Why are all ties to choices and other members, choices first.
	Why []Reason
	// Options are the parameters that modprobe.d gives it.
	Options []string
}

// Kind is what binds a module to a choice, the stronger the lower.
type Kind uint8

// Kinds of ties. A module marked so is at the end of a way of ties of which this is
// the weakest.
const (
	Chosen Kind = iota // a choice names it
	Hard               // a symbol is needed, the module cannot be loaded otherwise
	Pre                // a softdep wants it to be loaded before
	Post               // a softdep wants it to be loaded afterwards
	Weak               // the kernel may ask for it while the module is at work
)

func (k Kind) String() string { return [...]string{"chosen", "hard", "pre", "post", "weak"}[k] }

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Reason is why a module is in a set.
type Reason struct {
	Kind   Kind
	By     *depmod.Module // the member that wants it; nil for a choice
	Choice Choice
	// Text is the symbol that is needed, or the name by which the module is asked
	// for, which may be an alias.
	Text string
}

func (r Reason) String() string {
	switch r.Kind {
	case Chosen:
		return "chosen by " + r.Choice.String()
	case Hard:
		return r.By.Name + " needs " + r.Text
	case Pre, Post:
		return r.By.Name + " has softdep " + r.Kind.String() + ": " + r.Text
	}
	return r.By.Name + " may ask for " + r.Text
}

// A Pick is what one choice stands for.
type Pick struct {
	Choice  Choice
	Modules []*depmod.Module
	BuiltIn []string
	// Blacklisted are the modules that an alias leads to and modprobe.d's
	// blacklist keeps from being found by it. They are not taken.
	Blacklisted []*depmod.Module
}

// A NotFoundError tells that a choice names nothing.
type NotFoundError struct {
	Choice Choice
	Near   []string // names that look like it, the nearest first
	// BuiltInUnknown: the tree does not tell what is part of the kernel, so the
	// name may be that of such a module.
	BuiltInUnknown bool
}

func (e *NotFoundError) Error() string {
	return e.Choice.String() + ": no module has that name, alias, symbol or path"
}

// An ExcludedError tells that a module that is chosen by its name needs one that is
// not to be taken.
type ExcludedError struct {
	Choice, Excluded Choice
	Module, Needs    *depmod.Module
}

func (e *ExcludedError) Error() string {
	return fmt.Sprintf("%v: %s needs %s, which %v leaves out", e.Choice, e.Module.Name, e.Needs.Name, e.Excluded)
}

// Rules of the problems of a set.
const (
	RuleUnused      = "unused-choice" // a choice against modules that are not there
	RuleOptional    = "optional-choice"
	RuleBlacklisted = "blacklisted"
	RuleInstall     = "install-command" // modprobe runs a command instead of loading
	RuleExcluded    = "excluded"        // a module is left out as it needs one that is
)

// Resolve finds the modules of choices and what they need. What a choice with '!'
// names is never taken, whatever the others say: a module that was chosen by its name
// and cannot be loaded without is an [*ExcludedError], others are left out too.
// Without a choice, or with such ones only, it begins with all modules of the tree.
//
// Errors are a [*NotFoundError] for each choice that stands for nothing, joined.
func (c *Catalog) Resolve(choices []Choice) (*Set, error) {
	r := &resolver{Catalog: c, set: &Set{has: make(map[*depmod.Module]bool)}, wanted: make(map[*depmod.Module][]int),
		out: make(map[*depmod.Module]Choice), visited: make(map[*depmod.Module]bool)}
	if err := r.pick(choices); err != nil {
		return nil, err
	}
	if err := r.exclude(); err != nil {
		return nil, err
	}
	r.order()
	r.mark()
	r.note()
	return r.set, nil
}

// resolver is one run of Resolve.
type resolver struct {
	*Catalog
	set     *Set
	roots   []*depmod.Module          // chosen, in the order of the choices
	wanted  map[*depmod.Module][]int  // → places in set.Picks
	out     map[*depmod.Module]Choice // what is not taken, and because of what
	visited map[*depmod.Module]bool
	load    []*depmod.Module // what set.has, in order
}

// pick finds out what the choices stand for.
func (r *resolver) pick(choices []Choice) error {
	var errs []error
	positive := false
	for _, ch := range choices {
		if err := ch.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		text, negative := strings.CutPrefix(ch.Text, "!")
		if negative = negative && !ch.Device; !negative {
			text, positive = ch.Text, true
		}
		found := r.find(text, ch.Device)
		switch {
		case negative:
			r.leaveOut(ch, text, found)
		case len(found) == 0 && !ch.Optional:
			errs = append(errs, &NotFoundError{Choice: ch, Near: r.near(text), BuiltInUnknown: !r.known})
		default:
			r.take(ch, found)
		}
	}
	if !positive {
		r.takeAll()
	}
	return errors.Join(errs...)
}

// take notes what a choice has found.
func (r *resolver) take(ch Choice, found []target) {
	pick := Pick{Choice: ch}
	at := len(r.set.Picks)
	for _, t := range found {
		switch {
		case t.module == nil && !slices.Contains(pick.BuiltIn, t.builtin):
			pick.BuiltIn = append(pick.BuiltIn, t.builtin)
		case t.module == nil || slices.Contains(pick.Modules, t.module):
		case t.aliased && r.config.Blacklist[t.module.Name]:
			pick.Blacklisted = append(pick.Blacklisted, t.module)
		default:
			pick.Modules = append(pick.Modules, t.module)
			r.want(t.module, at)
		}
	}
	r.set.Picks = append(r.set.Picks, pick)
}

func (r *resolver) want(m *depmod.Module, pick int) {
	if r.wanted[m] == nil {
		r.roots = append(r.roots, m)
	}
	r.wanted[m] = append(r.wanted[m], pick)
}

// takeAll is what holds when nothing is chosen.
func (r *resolver) takeAll() {
	pick := Pick{Choice: Choice{Text: "all modules", Optional: true}, Modules: r.tree.Modules}
	for _, m := range r.tree.Modules {
		r.want(m, len(r.set.Picks))
	}
	r.set.Picks = append(r.set.Picks, pick)
}

func (r *resolver) leaveOut(ch Choice, text string, found []target) {
	if len(found) == 1 && found[0].module == nil {
		r.problem(depmod.Info, RuleUnused, "", "%v: %s is part of the kernel and stays there", ch, found[0].builtin)
	}
	for _, t := range found {
		if _, already := r.out[t.module]; t.module != nil && !already {
			r.out[t.module] = ch
		}
	}
	if len(found) == 0 && !ch.Optional {
		r.problem(depmod.Warning, RuleUnused, strings.Join(r.near(text), ", "), "%v: there is no such module to leave out", ch)
	}
}

func (r *resolver) problem(severity depmod.Severity, rule, hint, format string, args ...any) {
	r.set.Problems = append(r.set.Problems, depmod.Problem{Rule: rule, Severity: severity, Hint: hint, Text: fmt.Sprintf(format, args...)})
}

// exclude takes back the roots that are left out, or need a module that is.
func (r *resolver) exclude() error {
	if len(r.out) == 0 {
		return nil
	}
	var errs []error
	dropped := 0
	r.roots = slices.DeleteFunc(r.roots, func(m *depmod.Module) bool {
		if _, out := r.out[m]; out {
			return true
		}
		missing := r.missing(m)
		if missing == nil {
			return false
		}
		for _, at := range r.wanted[m] {
			if pick := r.set.Picks[at]; pick.exact() {
				errs = append(errs, &ExcludedError{Choice: pick.Choice, Excluded: r.out[missing], Module: m, Needs: missing})
				return true
			}
		}
		dropped++
		return true
	})
	if dropped > 0 {
		r.problem(depmod.Info, RuleExcluded, "", "left out, as they need modules that are: %d", dropped)
	}
	return errors.Join(errs...)
}

// exact tells whether the choice was for this one module.
func (p *Pick) exact() bool {
	text := p.Choice.Text
	return !p.Choice.Optional && len(p.Modules) == 1 && !isPattern(text) && !strings.HasSuffix(text, "/")
}

// missing gives a module that m cannot be loaded without and that is not taken.
func (r *resolver) missing(m *depmod.Module) *depmod.Module {
	for _, d := range m.Deps {
		if _, out := r.out[d]; out {
			return d
		}
	}
	return nil
}

// taken tells whether a module may come into the set.
func (r *resolver) taken(m *depmod.Module) bool {
	_, out := r.out[m]
	return !out && (len(r.out) == 0 || r.missing(m) == nil)
}
