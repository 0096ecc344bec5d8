package depmod

// Repeated reports entries that an index holds twice: the same key with the same
// value. They do no harm; depmod -w asks for them.
func (t *Tree) Repeated() []Problem {
	var problems []Problem
	repeated := func(m *Module, what, text string) {
		problems = append(problems, Problem{Rule: RuleRepeated, Severity: Warning, Path: m.Path,
			Text: "the same " + what + " entry stands twice in the index: " + text,
			kmod: "duplicate module " + what + ":\n" + text})
	}
	ix := indexer{tree: t}
	seen := make(map[string]bool)
	for _, m := range t.Modules {
		if m.Info == nil {
			continue
		}
		for alias := range m.Info.All("alias") {
			key, ok := ix.normalized(m.Path, alias)
			if !ok {
				continue
			}
			line := key + " " + m.Name
			if seen[line] {
				repeated(m, "alias", line)
			}
			seen[line] = true
		}
	}
	return problems
}
