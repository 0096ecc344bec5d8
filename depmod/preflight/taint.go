package preflight

import (
	"debug/elf"
	"slices"

	"github.com/kstage/kstage/modinfo/kernel"
)

// Lines of the log that come once until the next boot.
const (
	taintForced      = "forced"
	taintOutOfTree   = "out-of-tree"
	taintProprietary = "proprietary"
	taintTest        = "test"
	taintUnsigned    = "unsigned"
	taintLivepatch   = "livepatch"
	lockDebugging    = "Disabling lock debugging due to kernel taint" // its own name
)

// lines gives those lines of the log that have not been there before: text once for
// its kind, and the one that says that locks are no longer watched.
func (m *module) lines(kind, text, locks string) (lines []string) {
	if m.printed == nil {
		m.printed = make(map[string]string)
	}
	for _, l := range [...]struct{ kind, line string }{{kind, text}, {locks, locks}} {
		if l.line != "" && m.loaded.first(l.kind) && m.printed[l.kind] == "" {
			m.printed[l.kind] = l.line
			lines = append(lines, l.line)
		}
	}
	return lines
}

// settle forgets the lines that the kernel did not come to.
func (m *module) settle(dmesg []string) {
	for kind, line := range m.printed {
		if !slices.Contains(dmesg, line) {
			delete(m.printed, kind)
		}
	}
}

// checkEarlyTaints are the taints that loaders before 6.4 note together with the
// vermagic, later ones when the module has its place (checkTaints).
func checkEarlyTaints(_ *Check, m *module) []Finding {
	if m.loader.era != eraThisModule {
		return nil
	}
	return append(append(m.sourceTaints(), m.licenseTaint()...), m.testTaint()...)
}

// checkTaints is module_augment_kernel_taints.
func checkTaints(_ *Check, m *module) []Finding {
	if m.loader.era == eraThisModule {
		return m.signatureTaint()
	}
	fresh := !m.gpl && m.loaded.first(taintProprietary)
	findings := append(m.sourceTaints(), m.licenseTaint()...)
	findings = append(append(findings, m.testTaint()...), m.signatureTaint()...)
	if fresh { // found out by looking whether the taint was there at the beginning
		last := &findings[len(findings)-1]
		last.Dmesg = append(last.Dmesg, m.name+": module license taints kernel.")
	}
	return findings
}

func taint(text string, dmesg []string) Finding {
	return Finding{Rule: Taint, Severity: Info, Text: text, Dmesg: dmesg}
}

// sourceTaints tell where the module is from.
func (m *module) sourceTaints() (findings []Finding) {
	if _, ok := m.modinfo["intree"]; !ok {
		findings = append(findings, taint("it is not from the kernel's source tree",
			m.lines(taintOutOfTree, m.name+": loading out-of-tree module taints kernel.", "")))
	}
	if _, ok := m.modinfo["retpoline"]; !ok && m.elf.Machine == elf.EM_X86_64 && m.retpolines() {
		findings = append(findings, taint("it was compiled without retpolines",
			[]string{m.name + ": loading module not compiled with retpoline compiler."}))
	}
	if _, ok := m.modinfo["staging"]; ok {
		findings = append(findings, taint("it is from the kernel's staging directory",
			[]string{m.name + ": module is from the staging directory, the quality is unknown, you have been warned."}))
	}
	if _, ok := m.modinfo["livepatch"]; ok && !m.facts.Option("LIVEPATCH").No() {
		findings = append(findings, taint("it is a live patch",
			m.lines(taintLivepatch, m.name+": tainting kernel with TAINT_LIVEPATCH", "")))
	}
	return findings
}

// retpolines tells whether the kernel has them; the option was renamed in 6.9.
func (m *module) retpolines() bool {
	return m.facts.Option("MITIGATION_RETPOLINE").Yes() || m.facts.Option("RETPOLINE").Yes()
}

func (m *module) licenseTaint() []Finding {
	if m.gpl {
		return nil
	}
	license, ok := m.modinfo["license"]
	if !ok {
		license = "unspecified"
	}
	return []Finding{taint("its license "+license+" does not count as compatible with the GPL",
		m.lines(taintProprietary, m.name+": module license '"+license+"' taints kernel.", lockDebugging))}
}

func (m *module) testTaint() []Finding {
	if _, ok := m.modinfo["test"]; !ok {
		return nil
	}
	if said, known := m.facts.Says(kernel.SaysTest); known && !said {
		return nil
	}
	return []Finding{taint("it is a test of the kernel", m.lines(taintTest, m.name+": loading test module taints kernel.", ""))}
}

// signatureTaint is for modules that are not signed, or not by a key of the kernel.
func (m *module) signatureTaint() []Finding {
	if !m.facts.Option("MODULE_SIG").Yes() || m.signing == signedTrusted || m.signing == signedUnknown {
		return nil
	}
	return []Finding{taint("it has no signature by a key of the kernel",
		m.lines(taintUnsigned, m.name+": module verification failed: signature and/or required key missing - tainting kernel", ""))}
}
