package preflight

import "strings"

// readModinfo reads the strings of .modinfo.
func readModinfo(_ *Check, m *module) []Finding {
	m.modinfo = make(map[string]string)
	s := m.elf.Section(".modinfo")
	if s == nil {
		return nil
	}
	for field := range strings.SplitSeq(string(m.elf.Content(s)), "\x00") {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			continue
		}
		if _, known := m.modinfo[key]; !known {
			m.modinfo[key] = value
		}
		if key == "import_ns" {
			m.imports = append(m.imports, value)
		}
	}
	m.gpl = gplCompatible[m.modinfo["license"]]
	return nil
}

// gplCompatible are the licenses that do not taint (include/linux/license.h).
var gplCompatible = map[string]bool{
	"GPL": true, "GPL v2": true, "GPL and additional rights": true,
	"Dual BSD/GPL": true, "Dual MIT/GPL": true, "Dual MPL/GPL": true,
}

// checkVermagic is check_modinfo's first part.
func checkVermagic(_ *Check, m *module) []Finding {
	m.used = append(m.used, m.facts.Vermagic.From.Source)
	return nil
}
