package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/modinfo/kernel"
)

// moduleNamespace gives the modules of a namespace "module:NAME,NAME*,…", whose
// symbols are for these only (since 6.16). A star at the end stands for any rest.
func moduleNamespace(namespace string) (names string, ok bool) {
	return strings.CutPrefix(namespace, "module:")
}

// mayUse tells whether the module may use the symbols of a namespace; "" is none.
func (m *module) mayUse(namespace string) bool {
	if namespace == "" || slices.Contains(m.imports, namespace) {
		return true
	}
	names, ok := moduleNamespace(namespace)
	if !ok {
		return false
	}
	own := underscored(m.name)
	for name := range strings.SplitSeq(names, ",") {
		prefix, star := strings.CutSuffix(underscored(name), "*")
		if own == prefix || star && strings.HasPrefix(own, prefix) {
			return true
		}
	}
	return false
}

// checkImports is the end of setup_modinfo: symbols for named modules cannot be
// imported.
func checkImports(_ *Check, m *module) (findings []Finding) {
	refuses, known := m.facts.Says(kernel.SaysModuleNamespace)
	from := kernel.FromImage
	if !known {
		major, minor, ok := release(m.facts)
		refuses, from = ok && (major > 6 || major == 6 && minor >= 16), m.facts.Release.From.Source
	}
	for _, name := range m.imports {
		if _, ok := moduleNamespace(name); !ok || !refuses {
			continue
		}
		findings = append(findings, Finding{Rule: Namespace, Severity: Fail, Errno: EPERM, From: from,
			Text:  fmt.Sprintf("it imports the namespace %s, and such ones cannot be imported", name),
			Hint:  "take that MODULE_IMPORT_NS out of its sources",
			Dmesg: []string{fmt.Sprintf("%s: module tries to import module namespace: %s", m.name, name)}})
	}
	return findings
}
