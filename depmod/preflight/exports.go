package preflight

import (
	"fmt"

	"github.com/kstage/kstage/modinfo/kernel"
)

// checkLayout compares the checksum of module_layout, which stands for struct module
// and what goes with it (check_modstruct_version).
func checkLayout(c *Check, m *module) []Finding {
	const symbol = "module_layout"
	want, known := m.facts.Exports[symbol]
	if !m.modversions() || !known || !want.HasCRC {
		return nil
	}
	if m.versions == nil || c.Flags&IgnoreModversions != 0 {
		f := m.force(symbol, "it has no checksums of the symbols it needs")
		f.Rule, f.Symbol = CRC, symbol
		return []Finding{f}
	}
	f := Finding{Rule: CRC, Severity: Fail, Errno: ENOEXEC, Symbol: symbol, From: m.facts.ExportsFrom.Source}
	switch have, listed := m.versions[symbol]; {
	case !listed:
		f.Text = "it has no checksum of module_layout"
		f.Dmesg = []string{m.infoName + ": no symbol version for " + symbol}
	case have != uint64(want.CRC):
		f.Text = fmt.Sprintf("struct module is another one than in this kernel: the checksum of module_layout is 0x%08x, the kernel's 0x%08x", have, want.CRC)
		f.Dmesg = []string{m.infoName + ": disagrees about version of symbol " + symbol}
	default:
		return nil
	}
	return []Finding{f}
}

// checkExportVersions is check_export_symbol_versions: with MODVERSIONS, what a module
// exports must have checksums.
func checkExportVersions(_ *Check, m *module) []Finding {
	if !m.modversions() {
		return nil
	}
	for _, kind := range []string{"", "_gpl"} {
		table, sums := m.elf.Section("__ksymtab"+kind), m.elf.Section("__kcrctab"+kind)
		if table == nil || table.Size == 0 || sums != nil {
			continue
		}
		f := m.force("no versions for exported symbols", "the symbols that it exports have no checksums")
		f.Rule, f.Section = CRC, table.Name
		return []Finding{f}
	}
	return nil
}

// checkDuplicates is verify_exported_symbols: no symbol can be exported twice.
func checkDuplicates(_ *Check, m *module) (findings []Finding) {
	for _, e := range m.exports {
		f := Finding{Rule: DuplicateExport, Severity: Fail, Errno: ENOEXEC, Symbol: e.name, Hint: "rename one of both, or load one of both only"}
		owner := ""
		if _, ok := m.facts.Exports[e.name]; ok {
			owner, f.From = "kernel", m.facts.ExportsFrom.Source
			f.Text = "it exports " + e.name + ", which the kernel itself exports"
		} else if other, ok := m.loaded.export(e.name); ok && other.owner.name != m.name {
			owner = other.owner.name
			f.Text = "it exports " + e.name + ", which " + owner + " exports too"
			if m.loaded.together != nil && !m.loaded.together(m, other.owner) {
				findings = append(findings, Finding{Rule: DuplicateExport, Severity: Info, Symbol: e.name,
					Text: f.Text + ": only one of both can be loaded"})
				continue
			}
		}
		if owner == "" {
			continue
		}
		f.Dmesg = []string{m.name + ": exports duplicate symbol " + e.name + " (owned by " + owner + ")"}
		findings = append(findings, f)
	}
	return findings
}

// checkELFFlags warns of a module for other extensions of the processor than the
// kernel's own modules. The loader does not look (spec: loads with any flags).
func checkELFFlags(_ *Check, m *module) []Finding {
	want := m.facts.ELFFlags
	if m.facts.ELFFlagsFrom.Source == kernel.Unknown || m.elf.Flags == want {
		return nil
	}
	return []Finding{{Rule: ELFFlags, Severity: Warn, From: m.facts.ELFFlagsFrom.Source,
		Text: fmt.Sprintf("ELF flags 0x%x, the kernel's own modules have 0x%x%s", m.elf.Flags, want, flagWords(m.elf.Machine, m.elf.Flags, want))}}
}
