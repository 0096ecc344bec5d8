package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/preflight"
)

// A pageKernel is one kernel version on the page. What has no name in JSON is only for
// the part of the page that needs no script.
type pageKernel struct {
	Version string        `json:"version"`
	Dir     string        `json:"dir"`
	Modules []*pageModule `json:"modules"`
	Texts   [][2]string   `json:"texts"` // of findings: severity and text, each once

	Vermagics []vermagicCount `json:"-"`
	Machine   string          `json:"-"`
	Files     []string        `json:"-"` // that the kernel is known from
	NotKnown  []string        `json:"-"` // what is not known of it
	Missing   string          `json:"-"` // what would tell
	BuiltIn   int             `json:"-"`
	Verdicts  [4]int          `json:"-"` // modules, by verdict
	Stored    int64           `json:"-"` // bytes of the modules' files
	Unpacked  int64           `json:"-"` // bytes of the modules
	Index     string          `json:"-"` // state of the index

	dir   string // Dir, not escaped
	texts map[[2]string]int
}

// A vermagicCount tells how many modules were built for a version magic.
type vermagicCount struct {
	Text  string
	Count int
}

// A pageModule is a module on the page. All texts are made fit to be shown.
type pageModule struct {
	Name        string        `json:"n"`
	Path        string        `json:"p"` // below the module directory
	Stored      int64         `json:"s"` // bytes of the file
	Unpacked    int64         `json:"u,omitempty"`
	Version     string        `json:"v,omitempty"`
	License     string        `json:"l,omitempty"`
	Description string        `json:"d,omitempty"`
	Aliases     int           `json:"a,omitempty"`
	Firmware    []string      `json:"w,omitempty"`
	Verdict     int           `json:"x,omitempty"` // 0 loads, 1 fails, 2 crashes, 3 unknown
	Findings    []int         `json:"f,omitempty"` // places in Texts, the grave ones first
	Needs       []pageNeed    `json:"r,omitempty"`
	Soft        []pageSoftdep `json:"o,omitempty"`
}

// pageNeed is a module, by its place in the list, and a symbol that is needed from it.
type pageNeed [2]any

// pageSoftdep is a module, by its place in the list, and pre or post.
type pageSoftdep [2]any

// Bounds of what is shown of one module.
const (
	maxShown     = 300 // bytes of a text
	maxShownList = 20  // entries of a list
)

// fitText makes a text of a module fit to be shown.
func fitText(text string) string {
	text = harmless(text)
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}

// kernelVersion gathers what there is to say of the modules in a directory.
func (r *reporter) kernelVersion(ctx context.Context, root fs.FS, dir string) error {
	defer boundMemory(checkMemory)()
	tree, err := r.scan(ctx, root, dir)
	if err != nil {
		return err
	}
	k := newPageKernel(tree)
	r.page.Kernels = append(r.page.Kernels, k)
	r.page.addIndex(k, root, tree)
	return r.checkModules(ctx, root, k)
}

// scan reads the modules. A circle of dependencies is a finding; then there are none.
func (r *reporter) scan(ctx context.Context, root fs.FS, dir string) (*depmod.Tree, error) {
	cache := newModuleCache(dir, r.noCache)
	config, problems, err := depmod.ReadConfig(root, depmod.ConfigPaths, path.Base(dir))
	if err != nil {
		return nil, err
	}
	tree, err := depmod.Scan(ctx, root, dir, depmod.Options{
		Complete: true, Config: config, Cache: cache.facts, MaxModuleSize: int64(r.maxModuleSize), Progress: r.step("reading modules of " + path.Base(dir)),
	})
	var cycle *depmod.CycleError
	if errors.As(err, &cycle) {
		problems = append(problems, depmod.Problem{Rule: "cycle", Severity: depmod.Error, Text: cycle.Error(), Hint: "a symbol that two modules need from each other must move to a third one"})
	} else if err != nil {
		return nil, err
	}
	cache.save()
	tree.Problems = append(problems, tree.Problems...)
	if cycle == nil {
		_, problems = tree.Files()
		tree.Problems = append(tree.Problems, problems...)
	}
	return tree, nil
}

// newPageKernel lists the modules, by name.
func newPageKernel(tree *depmod.Tree) *pageKernel {
	k := &pageKernel{Version: fitText(tree.Version), Dir: escape(tree.Dir), dir: tree.Dir, Modules: []*pageModule{}, Texts: [][2]string{}, texts: make(map[[2]string]int)}
	modules := slices.Clone(tree.Modules)
	slices.SortStableFunc(modules, func(a, b *depmod.Module) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	place, named := make(map[*depmod.Module]int), make(map[string]int)
	for i, m := range modules {
		place[m] = i
		named[m.Name] = i
	}
	vermagics := make(map[string]int)
	for _, m := range modules {
		one := newPageModule(m)
		for need, symbol := range m.Direct {
			one.Needs = append(one.Needs, pageNeed{place[need], fitText(symbol)})
		}
		if m.Info != nil {
			one.Soft = softdeps(slices.Collect(m.Info.All("softdep")), named)
			magic, _ := m.Info.Get("vermagic")
			vermagics[fitText(magic)]++
			k.Machine = cmp.Or(k.Machine, strings.ToLower(strings.TrimPrefix(m.Info.Machine.String(), "EM_")))
		}
		k.Stored, k.Unpacked = k.Stored+one.Stored, k.Unpacked+one.Unpacked
		k.Modules = append(k.Modules, one)
	}
	for text, n := range vermagics {
		k.Vermagics = append(k.Vermagics, vermagicCount{cmp.Or(text, "(none)"), n})
	}
	slices.SortFunc(k.Vermagics, func(a, b vermagicCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Text, b.Text))
	})
	k.Vermagics = k.Vermagics[:min(len(k.Vermagics), maxShownList)]
	return k
}

func newPageModule(m *depmod.Module) *pageModule {
	one := &pageModule{Name: fitText(m.Name), Path: escape(m.Path)}
	if f, err := m.Open(); err == nil {
		if info, err := f.Stat(); err == nil {
			one.Stored = info.Size()
		}
		_ = f.Close() // only read from
	}
	if m.Info == nil {
		return one
	}
	one.Unpacked = m.Info.Size
	for key, to := range map[string]*string{"version": &one.Version, "license": &one.License, "description": &one.Description} {
		text, _ := m.Info.Get(key)
		*to = fitText(text)
	}
	for range m.Info.All("alias") {
		one.Aliases++
	}
	for name := range m.Info.All("firmware") {
		if len(one.Firmware) < maxShownList {
			one.Firmware = append(one.Firmware, fitText(name))
		}
	}
	return one
}

// softdeps reads fields of the form "pre: A B post: C". Modules that are not in the
// tree may be part of the kernel and are left out.
func softdeps(fields []string, named map[string]int) (all []pageSoftdep) {
	for _, field := range fields {
		when := ""
		for _, word := range strings.Fields(field) {
			if word == "pre:" || word == "post:" {
				when = strings.TrimSuffix(word, ":")
				continue
			}
			if i, ok := named[depmod.ModuleName(word)]; ok && when != "" && len(all) < maxShownList {
				all = append(all, pageSoftdep{i, when})
			}
		}
	}
	return all
}

// addIndex puts in what is said of the tree of modules and its index. A directory
// that is still to be packed needs none.
func (p *page) addIndex(k *pageKernel, root fs.FS, tree *depmod.Tree) {
	for _, f := range tree.Problems {
		severity := f.Severity.String()
		if f.Severity == depmod.Info {
			severity = "note"
		}
		where := k.Dir
		if f.Path != "" {
			where += "/" + escape(f.Path)
		}
		p.group("index", f.Rule, severity).add(pageFinding{Where: where, Text: f.Text, Hint: f.Hint})
	}
	if ok, err := depmod.UpToDate(root, tree.Dir, depmod.Options{}); ok && err == nil {
		k.Index = "fits the modules"
		return
	}
	k.Index = "is not there, or does not fit the modules"
	f := pageFinding{Where: k.Dir, Text: "the index (modules.dep and the others) " + k.Index, Hint: "kstage pack makes it in the image, kstage depmod in the directory"}
	severity := "note"
	if p.Image != nil {
		severity, f.Hint = "warning", "modprobe finds no module without it; kstage pack IMAGE -o FILE makes it"
	}
	p.group("index", "modules.dep", severity).add(f)
}

// checkModules puts in what kstage check says.
func (r *reporter) checkModules(ctx context.Context, root fs.FS, k *pageKernel) error {
	side, err := r.kernelSide(root, k)
	if err != nil {
		return err
	}
	check := preflight.Check{Kernel: side.facts, Firmware: stagedFirmware(root), MaxModuleSize: int64(r.maxModuleSize)}
	results, err := check.Tree(ctx, root, k.dir, r.step("checking modules of "+k.Version))
	if err != nil {
		return err
	}
	k.Files, k.NotKnown, k.BuiltIn = side.files, side.unknown(), len(side.facts.BuiltIn)
	if len(k.NotKnown) > 0 {
		k.Missing = side.missing()
	}
	byPath := make(map[string]*pageModule)
	for _, m := range k.Modules {
		byPath[k.Dir+"/"+m.Path] = m
	}
	for i := range results {
		k.Verdicts[results[i].Verdict]++
		r.page.addResult(k, byPath[escape(results[i].Path)], &results[i])
	}
	return nil
}

// kernelSide is what is known of the kernel of a version. A kernel that was named, and
// whose modules are in the tree, is not that of another version.
func (r *reporter) kernelSide(root fs.FS, k *pageKernel) (*kernelSide, error) {
	named, err := r.kernel.alone()
	if err != nil {
		return nil, err
	}
	flags := r.kernel
	if release := named.facts.Release.Value; release != "" && release != path.Base(k.dir) {
		if _, err := fs.Stat(root, path.Join(path.Dir(k.dir), release)); err == nil {
			flags = kernelFlags{}
		}
	}
	return flags.in(root, k.dir)
}

// addResult puts in what a check says of a module, which is nil when the index does
// not have it.
func (p *page) addResult(k *pageKernel, m *pageModule, r *preflight.Result) {
	link := ""
	if m != nil {
		m.Verdict = int(r.Verdict)
		link = "#module/" + url.PathEscape(k.Version) + "/" + url.PathEscape(m.Name)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		severity := [...]string{preflight.Info: "note", preflight.Warn: "warning", preflight.Crash: "error", preflight.Fail: "error"}[f.Severity]
		g := p.group("check", string(f.Rule), severity)
		if f.Severity > preflight.Info { // a note may say that it cannot be told
			g.Meaning = f.Rule.Meaning()
		}
		listed := g.add(pageFinding{Where: escape(r.Path), Text: findingWhere(f), Hint: f.Hint, Said: slices.Clone(f.Dmesg), Link: link})
		if m == nil || f.Severity == preflight.Info || len(m.Findings) >= maxShownList {
			continue
		}
		text := f.Text
		if !listed {
			text = cmp.Or(g.Meaning, f.Text)
		}
		m.Findings = append(m.Findings, k.text(severity, fitText(text)+" ["+string(f.Rule)+"]"))
	}
	if m != nil {
		slices.SortStableFunc(m.Findings, func(a, b int) int { return gravity(k.Texts[a][0]) - gravity(k.Texts[b][0]) })
	}
}

// text gives the place of a finding's text: most are said of many modules.
func (k *pageKernel) text(severity, text string) int {
	key := [2]string{severity, text}
	at, ok := k.texts[key]
	if !ok {
		at = len(k.Texts)
		k.texts[key] = at
		k.Texts = append(k.Texts, key)
	}
	return at
}
