package preflight

import "github.com/kstage/kstage/internal/elf64"

// checkHeader is elf_validity_check.
func checkHeader(_ *Check, m *module) []Finding {
	m.parsed = true
	f, err := elf64.Parse(m.data)
	if err != nil {
		return []Finding{{Rule: ELFHeader, Severity: Fail, Errno: ENOEXEC, Text: err.Error()}}
	}
	m.elf = f
	return nil
}
