package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kstage/kstage/depmod/preflight"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
)

// show prints what was found of the modules of one kernel.
func (c *checker) show(results []preflight.Result, side *kernelSide) error {
	var counts [4]int
	for _, r := range results {
		counts[r.Verdict]++
		c.failed = c.failed || r.Verdict == preflight.Fails || r.Verdict == preflight.Crashes
	}
	if c.json {
		return c.resultLines(results)
	}
	alike := make(alike)
	for _, r := range results {
		c.result(r, side, alike)
	}
	alike.more(c.ui)
	c.say("%s", checkSummary(len(results), counts, side))
	return nil
}

// notes tells what of the kernel is not known, in one line, and which files were of
// no use.
func (c *checker) notes(side *kernelSide) {
	if c.json {
		return
	}
	for _, n := range slices.Concat(side.unused, side.facts.Notes) {
		c.line("note", "%s: %s", n.File, n.Text)
		c.hint(n.Hint)
	}
	unknown := side.unknown()
	switch {
	case len(side.files) == 0:
		c.line("note", "no file tells of the kernel%s: only what is wrong with a module itself is found", side.on())
		c.hint("--kernel IMAGE names it; the image alone tells most")
	case len(unknown) > 0:
		c.line("note", "of the kernel this is not known, and not judged: %s", strings.Join(unknown, ", "))
		c.hint(side.missing())
	}
}

// alike counts findings of one rule: after maxAlike they are only counted.
type alike map[preflight.Rule]int

func (a alike) enough(r preflight.Rule) bool {
	a[r]++
	return a[r] > maxAlike
}

func (a alike) more(u *ui) {
	for _, rule := range slices.Sorted(maps.Keys(a)) {
		if n := a[rule] - maxAlike; n > 0 {
			u.line("note", "%d more findings like these (%s: %s); --json lists all", n, rule, rule.Meaning())
		}
	}
}

// result prints what is to be said of one module: why it would not load with all
// that goes with it, then warnings, and notes when they are wanted.
func (c *checker) result(r preflight.Result, side *kernelSide, alike alike) {
	if r.Verdict == preflight.Fails || r.Verdict == preflight.Crashes {
		c.failure(r, side, alike)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Severity == preflight.Warn && !alike.enough(f.Rule):
			c.line("warning", "%s: %s", r.Path, findingWhere(f))
			c.hint(f.Hint)
		case f.Severity == preflight.Info && c.verbose:
			c.line("note", "%s: %s", r.Path, findingWhere(f))
			c.hint(f.Hint)
		}
	}
	if !c.verbose {
		return
	}
	switch r.Verdict {
	case preflight.Loads:
		c.line("note", "%s: loads", r.Path)
	case preflight.Unknown:
		c.line("note", "%s: nothing is wrong with the file; too little is known of the kernel to tell more", r.Path)
	}
}

// failure prints why a module would not load: the finding that the kernel reports,
// what its log says and what the caller gets, then what would come next.
func (c *checker) failure(r preflight.Result, side *kernelSide, alike alike) {
	reasons := failures(r)
	if len(reasons) == 0 || alike.enough(reasons[0].Rule) {
		return
	}
	fate := "would not load"
	if r.Verdict == preflight.Crashes {
		fate = "would load, and crash"
	}
	text := []string{fmt.Sprintf("%s: %s%s: %s", r.Path, fate, side.on(), findingWhere(reasons[0]))}
	for _, line := range r.Dmesg {
		text = append(text, "dmesg: "+line)
	}
	if r.Verdict == preflight.Fails {
		if len(r.Dmesg) == 0 {
			text = append(text, "dmesg: nothing, the kernel is silent about it")
		}
		text = append(text, fmt.Sprintf("returns: %s", errnoText(r.Errno)))
	}
	if meaning := reasons[0].Rule.Meaning(); meaning != "" {
		text = append(text, "it means: "+meaning)
	}
	shown := min(len(reasons), 1+maxAlike)
	for _, f := range reasons[1:shown] {
		text = append(text, "also: "+findingWhere(f))
	}
	if more := len(reasons) - shown; more > 0 {
		text = append(text, fmt.Sprintf("also: %s; --json lists all", count(more, "more reason", "more reasons")))
	}
	if r.From != kernelinfo.Unknown && r.From < kernelinfo.FromSymvers {
		text = append(text, "rests on: "+restsOn(r.From))
	}
	c.line(cmp.Or(c.label, "error"), "%s", strings.Join(text, "\n"))
	var hints []string
	for _, f := range reasons[:shown] {
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
			c.hint(f.Hint)
		}
	}
}

// failures are the findings that keep a module from loading, or make it crash: those
// that the kernel would report come first.
func failures(r preflight.Result) []*preflight.Finding {
	var reported, rest []*preflight.Finding
	for i := range r.Findings {
		switch f := &r.Findings[i]; {
		case f.Reported:
			reported = append(reported, f)
		case f.Severity >= preflight.Crash:
			rest = append(rest, f)
		}
	}
	return append(reported, rest...)
}

// findingWhere words a finding and its place.
func findingWhere(f *preflight.Finding) string {
	text := f.Text
	switch {
	case f.Section != "" && !strings.Contains(text, f.Section):
		text += fmt.Sprintf(" (%s+%#x)", f.Section, f.Offset)
	case f.Section != "":
		text += fmt.Sprintf(" (at %#x)", f.Offset)
	}
	return text + " [" + string(f.Rule) + "]"
}

// errnoText words what a system call returns: EINVAL (22), "Invalid argument".
func errnoText(e preflight.Errno) string {
	return strings.TrimSuffix(fmt.Sprintf("%v (%d), %q", e, uint16(e), e.Text()), `, ""`)
}

// restsOn warns of what a verdict rests on that may be wrong.
func restsOn(s kernelinfo.Source) string {
	switch s {
	case kernelinfo.FromRelease:
		return "the kernel's release alone; vendors' kernels may differ"
	case kernelinfo.FromModules:
		return "what the other modules of the tree have in common"
	}
	return s.String()
}

// checkSummary counts: "3,103 modules: 3,101 load, 2 would fail on 6.1.192-kstage".
func checkSummary(total int, counts [4]int, side *kernelSide) string {
	var parts []string
	for _, p := range []struct {
		verdict   preflight.Verdict
		one, many string
	}{
		{preflight.Loads, "loads", "load"}, {preflight.Fails, "would fail", "would fail"},
		{preflight.Crashes, "would crash", "would crash"}, {preflight.Unknown, "cannot be told", "cannot be told"},
	} {
		if n := counts[p.verdict]; n == 1 {
			parts = append(parts, "1 "+p.one)
		} else if n > 1 {
			parts = append(parts, thousands(n)+" "+p.many)
		}
	}
	modules := "modules"
	if total == 1 {
		modules = "module"
	}
	return fmt.Sprintf("%s %s: %s%s%s", thousands(total), modules, strings.Join(parts, ", "), side.on(), side.from())
}

// thousands writes a number in groups of three: 3,103.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// resultJSON is a module in JSON, one object a line; members are only ever added.
type resultJSON struct {
	Path       string                 `json:"path"`
	Module     string                 `json:"module"`
	Verdict    preflight.Verdict      `json:"verdict"`
	Errno      preflight.Errno        `json:"errno"` // 0 when it loads
	Dmesg      []string               `json:"dmesg"`
	Confidence string                 `json:"confidence"` // image, symvers, map, version, none
	Findings   []preflightFindingJSON `json:"findings"`
}

func newResultJSON(r preflight.Result) resultJSON {
	j := resultJSON{r.Path, r.Module, r.Verdict, r.Errno, append([]string{}, r.Dmesg...), confidence(r.From), []preflightFindingJSON{}}
	for i := range r.Findings {
		j.Findings = append(j.Findings, newFindingJSON(&r.Findings[i]))
	}
	return j
}

// confidence words a source for programs, which know five: a configuration is as good
// as a Module.symvers of the same build, and what modules have in common is what
// their version tells.
func confidence(s kernelinfo.Source) string {
	switch s {
	case kernelinfo.FromConfig:
		s = kernelinfo.FromSymvers
	case kernelinfo.FromModules:
		s = kernelinfo.FromRelease
	}
	return s.String()
}

type preflightFindingJSON struct {
	Rule     preflight.Rule     `json:"rule"`
	Severity preflight.Severity `json:"severity"`
	Text     string             `json:"text"`
	Hint     string             `json:"hint"`
	Section  string             `json:"section"`
	Symbol   string             `json:"symbol"`
}

func newFindingJSON(f *preflight.Finding) preflightFindingJSON {
	return preflightFindingJSON{f.Rule, f.Severity, f.Text, f.Hint, f.Section, f.Symbol}
}

// resultLines prints a line for each module.
func (c *checker) resultLines(results []preflight.Result) error {
	w := bufio.NewWriter(c.out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range results {
		if err := enc.Encode(newResultJSON(r)); err != nil {
			return err
		}
	}
	return w.Flush()
}
