package main

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod/preflight"
	"github.com/kstage/kstage/initrd"
)

// A page is what stands on the page of a report. What is drawn by script is in the
// JSON of Tree and Kernels; the rest is there without a script too.
type page struct {
	Name     string
	Image    *pageImage // nil for a directory
	Files    int
	Contents int64 // bytes
	Kinds    []kindSum
	Packed   []moduleSum // modules, by compression
	Tree     *treeNode
	Kernels  []*pageKernel
	Findings []*findingGroup
}

// pageImage is what there is to say about an image as a whole.
type pageImage struct {
	Size, Unpacked, Needed int64
	Whole                  bool
	Segments               []pageSegment
}

type pageSegment struct {
	initrd.Segment
	Method string
}

// Share is the part of the unpacked bytes that is left, in percent.
func (s pageSegment) Share() float64 { return percent(s.Size, s.Unpacked) }

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

//go:embed page
var pageFiles embed.FS

// asset joins files of the page's source.
func asset(names ...string) string {
	var all strings.Builder
	for _, name := range names {
		data, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		all.Write(data)
	}
	return all.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// render writes the page. The browser is told to run this script and this style
// only, and to fetch nothing (Content Security Policy, level 2): whatever the names
// in an image are, they stay text.
func (p *page) render(w io.Writer) error {
	style, script := asset("page.css"), asset("page.js", "treemap.js", "modules.js", "graph.js")
	functions := template.FuncMap{"bytes": size, "thousands": thousands, "percent": percent, "plural": plural, "version": version}
	parsed, err := template.New("page.html").Funcs(functions).Parse(asset("page.html"))
	if err != nil {
		return err
	}
	return parsed.Execute(w, map[string]any{
		"Page":   p,
		"Style":  template.CSS(style), // ours
		"Script": template.JS(script), // ours
		"Policy": fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; form-action 'none'", sourceHash(style), sourceHash(script)),
		"Data":   map[string]any{"tree": p.Tree, "kernels": p.Kernels, "kinds": kindNames, "image": p.Image != nil},
	})
}

func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// addVerified puts in what the kernel would make of an image.
func (p *page) addVerified(r *initrd.Report) {
	p.Image = &pageImage{Size: r.Size, Unpacked: r.Unpacked, Needed: r.Needed, Whole: r.Whole()}
	for _, s := range r.Segments {
		p.Image.Segments = append(p.Image.Segments, pageSegment{s, methodWord(s.Method)})
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		g := p.group("verify", f.Rule, severityLabel(f.Severity))
		g.Count-- // below it is set to all there are
		said := []string{}
		if f.Kernel != "" {
			said = append(said, f.Kernel)
		}
		g.add(pageFinding{Where: escape(f.Path), Text: f.Text, Place: f.Place(), Said: said, Hint: f.Hint})
	}
	for _, g := range p.Findings {
		g.Count = r.Counts[g.Rule]
	}
}

// addFiles puts in what takes the space.
func (p *page) addFiles(s *sizer) {
	all := sum("", s.files)
	p.Files, p.Contents = all.Files, all.Size
	p.Kinds, p.Tree = sumKinds(s.files), newFileTree(s.files)
	p.Packed = s.modules()
}

// modules counts those of all kernel versions.
func (p *page) modules() (n int) {
	for _, k := range p.Kernels {
		n += len(k.Modules)
	}
	return n
}

// Unpacked sums up the modules that could be read, by how they are compressed.
func (p *page) Unpacked() map[string]int64 {
	by := make(map[string]int64)
	for _, k := range p.Kernels {
		for _, m := range k.Modules {
			by[moduleCompression(m.Path)] += m.Unpacked
		}
	}
	return by
}

// sentence is the page in short, for the terminal.
func (p *page) sentence() string {
	return plural(p.Files, "entry", "entries") + " and " + plural(p.modules(), "module", "modules") + " of " + p.Name
}

// Failing counts the modules that would not load, or crash. They stand for all that
// check has against them.
func (p *page) Failing() (n int) {
	for _, k := range p.Kernels {
		n += k.Verdicts[preflight.Fails] + k.Verdicts[preflight.Crashes]
	}
	return n
}

// Errors counts findings of verify and about the index.
func (p *page) Errors() (n int) {
	for _, g := range p.Findings {
		if g.Severity == "error" && g.From != "check" {
			n += g.Count
		}
	}
	return n
}

// Warnings counts findings.
func (p *page) Warnings() (n int) {
	for _, g := range p.Findings {
		if g.Severity == "warning" {
			n += g.Count
		}
	}
	return n
}

// Verdict counts what is wrong, in words; empty when nothing is.
func (p *page) Verdict() string {
	var parts []string
	for _, c := range []struct {
		n         int
		one, many string
	}{
		{p.Failing(), "module would not load", "modules would not load"},
		{p.Errors(), "error", "errors"},
		{p.Warnings(), "warning", "warnings"},
	} {
		if c.n > 0 {
			parts = append(parts, plural(c.n, c.one, c.many))
		}
	}
	return strings.Join(parts, ", ")
}

// A findingGroup is all findings of one rule.
type findingGroup struct {
	From     string // verify, check or index
	Rule     string
	Severity string // error, warning, note
	Meaning  string
	Count    int
	Listed   []pageFinding // at most maxListed
}

// More is how many are not listed.
func (g *findingGroup) More() int { return g.Count - len(g.Listed) }

type pageFinding struct {
	Where, Text, Place, Hint string
	Said                     []string // lines of the kernel's log
	Link                     string   // to the module, on the page
}

// maxListed is how many findings of a rule are listed; the rest is counted, so that
// a tree for another kernel does not make the page huge.
const maxListed = 50

// group gives the group of a rule.
func (p *page) group(from, rule, severity string) *findingGroup {
	for _, g := range p.Findings {
		if g.From == from && g.Rule == rule && g.Severity == severity {
			return g
		}
	}
	p.Findings = append(p.Findings, &findingGroup{From: from, Rule: rule, Severity: severity})
	return p.Findings[len(p.Findings)-1]
}

// add counts a finding and tells whether it is listed.
func (g *findingGroup) add(f pageFinding) bool {
	g.Count++
	if len(g.Listed) >= maxListed {
		return false
	}
	f.Text, f.Hint = harmless(f.Text), harmless(f.Hint)
	for i := range f.Said {
		f.Said[i] = harmless(f.Said[i])
	}
	g.Listed = append(g.Listed, f)
	return true
}

// sortFindings puts the grave ones first.
func (p *page) sortFindings() {
	slices.SortStableFunc(p.Findings, func(a, b *findingGroup) int { return gravity(a.Severity) - gravity(b.Severity) })
}

// gravity is smaller for what is graver.
func gravity(severity string) int {
	return slices.Index([]string{"error", "warning", "note"}, severity)
}
