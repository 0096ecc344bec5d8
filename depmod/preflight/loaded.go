package preflight

import "maps"

// Loaded is the modules that are in the kernel before the one in question. The zero
// value, and nil, are none. It is not for use by several goroutines while modules
// are added.
type Loaded struct {
	modules map[string]*loadedModule
	exports map[string]loadedExport
	printed map[string]string // lines of the log that come once, see taint.go
	// together tells of a tree's module whether another one is loaded when it is; nil
	// means that all are.
	together func(m *module, owner *loadedModule) bool
}

// A loadedModule is what of a module matters for those that come after it.
type loadedModule struct {
	name    string
	gpl     bool // its license counts as GPL compatible
	exports []export
}

// A loadedExport is a symbol that a module offers which is loaded.
type loadedExport struct {
	export
	owner *loadedModule
}

// has tells whether a module of that name is loaded.
func (l *Loaded) has(name string) bool { return l != nil && l.modules[name] != nil }

// first tells whether a line that comes once has not been printed yet.
func (l *Loaded) first(line string) bool { return l == nil || l.printed[line] == "" }

// export finds a symbol that a loaded module offers.
func (l *Loaded) export(name string) (loadedExport, bool) {
	if l == nil {
		return loadedExport{}, false
	}
	e, ok := l.exports[name]
	return e, ok
}

// add puts a module in. Of two that offer the same symbol the first has it, since
// the kernel refuses the second.
func (l *Loaded) add(m *module) {
	if l.modules == nil {
		l.modules = make(map[string]*loadedModule)
		l.exports = make(map[string]loadedExport)
		l.printed = make(map[string]string)
	}
	maps.Copy(l.printed, m.printed)
	l.modules[m.name] = l.addExports(m)
}

// addExports puts in what a module exports.
func (l *Loaded) addExports(m *module) *loadedModule {
	lm := &loadedModule{name: m.name, gpl: m.gpl, exports: m.exports}
	for _, e := range m.exports {
		if _, taken := l.exports[e.name]; !taken {
			l.exports[e.name] = loadedExport{e, lm}
		}
	}
	return lm
}
