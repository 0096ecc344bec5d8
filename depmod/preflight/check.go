package preflight

import (
	"io"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// File tells what would become of one module file of size bytes that is loaded as
// insmod does: nothing else is loaded for it, but what loaded holds is there
// already. name is the file's, for the result. A file that cannot be read has a
// result like any other.
func (c *Check) File(name string, r io.ReaderAt, size int64, loaded *Loaded) Result {
	result, _ := c.file(new(modinfo.Unpacker), name, r, size, loaded)
	return result
}

// Load is File, and puts the module into loaded unless it is too damaged, whatever
// the verdict is: so the modules are told that are there before another one.
func (c *Check) Load(name string, r io.ReaderAt, size int64, loaded *Loaded) Result {
	result, m := c.file(new(modinfo.Unpacker), name, r, size, loaded)
	if m.elf != nil {
		loaded.add(m)
	}
	return result
}

func (c *Check) file(u *modinfo.Unpacker, name string, r io.ReaderAt, size int64, loaded *Loaded) (Result, *module) {
	m := c.module(name, loaded)
	findings := [][]Finding{c.read(u, m, r, size)}
	if m.data != nil {
		findings = append(findings, c.run(m)...)
	}
	result := assemble(m, ordered(findings))
	m.settle(result.Dmesg)
	return result, m
}

// module begins with a file.
func (c *Check) module(name string, loaded *Loaded) *module {
	m := &module{path: name, name: depmod.ModuleName(name), loaded: loaded, facts: c.Kernel}
	if m.facts == nil {
		m.facts = new(kernel.Facts)
	}
	m.loader = loaderOf(m.facts)
	return m
}

// run takes the steps in order. Each is taken even when an earlier one has failed;
// without a sound header there are no more.
func (c *Check) run(m *module) (findings [][]Finding) {
	for _, s := range steps {
		findings = append(findings, s.take(c, m))
		if m.parsed && m.elf == nil {
			break
		}
	}
	return findings
}

// ordered joins the findings of the steps, and marks those that the kernel would
// report: of the first step that has any.
func ordered(steps [][]Finding) (all []Finding) {
	reported := false
	for _, findings := range steps {
		if !reported {
			reported = report(findings)
		} else {
			for i := range findings {
				findings[i].Reported = false
			}
		}
		all = append(all, findings...)
	}
	return all
}

// report marks the finding of one step that the kernel would report: those that the
// step has marked itself, as where it reports several, else the first that fails.
func report(findings []Finding) bool {
	first := -1
	for i := range findings {
		if findings[i].Reported {
			return true
		}
		if findings[i].Severity == Fail && first < 0 {
			first = i
		}
	}
	if first >= 0 {
		findings[first].Reported = true
	}
	return first >= 0
}
