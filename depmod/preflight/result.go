package preflight

import "github.com/kstage/kstage/modinfo/kernel"

// assemble makes the result of a module's findings.
func assemble(m *module, findings []Finding) Result {
	for i := range findings {
		if f := &findings[i]; f.Hint == "" && f.Severity > Info {
			f.Hint = f.Rule.Cure()
		}
	}
	r := Result{Path: m.path, Module: m.name, Findings: findings}
	last := len(findings) - 1
	for i, f := range findings {
		switch {
		case f.Reported && f.Severity == Fail:
			last, r.Verdict, r.Errno = i, Fails, f.Errno
			r.From = f.From
		case f.Reported:
			last = i // what the same step says besides
		}
	}
	for i, f := range findings {
		switch {
		case i > last || f.Severity == Fail && !f.Reported:
		case f.Severity == Crash && r.Verdict != Fails:
			r.Verdict, r.From = Crashes, f.From
			fallthrough
		default:
			r.Dmesg = append(r.Dmesg, f.Dmesg...)
		}
	}
	if r.Verdict == Loads {
		r.Verdict, r.From = m.ground()
	}
	return r
}

// ground tells what the verdict rests on that a module loads: on the weakest of the
// facts that every loader compares with.
func (m *module) ground() (Verdict, kernel.Source) {
	weakest := kernel.FromImage
	for _, from := range m.used {
		weakest = min(weakest, from)
	}
	if weakest == kernel.Unknown || len(m.used) == 0 {
		return Unknown, kernel.Unknown
	}
	return Loads, weakest
}
