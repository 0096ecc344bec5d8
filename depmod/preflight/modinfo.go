package preflight

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"

	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// readFields reads the strings of .modinfo.
func (m *module) readFields() {
	m.modinfo = make(map[string]string)
	for text := range strings.SplitSeq(string(m.modinfoContent()), "\x00") {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			continue
		}
		m.fields = append(m.fields, modinfo.Field{Key: key, Value: value})
		if _, known := m.modinfo[key]; !known {
			m.modinfo[key] = value
		}
		if key == "import_ns" {
			m.imports = append(m.imports, value)
		}
	}
	m.gpl = gplCompatible[m.modinfo["license"]]
}

// modinfoContent gives the section, which loaders before 6.4 look for among those that
// are loaded. They all take the first string even where its size is 0, and the last one to
// its end even where that is behind the section's.
func (m *module) modinfoContent() []byte {
	_, s := m.count(".modinfo")
	if m.loader.era == eraThisModule {
		s = m.allocated(".modinfo")
	}
	if s == nil {
		return nil
	}
	content := m.elf.At(s.Off, s.Size)
	if content == nil || len(content) > 0 && content[len(content)-1] == 0 {
		return content
	}
	last, _, _ := bytes.Cut(m.data[s.Off+s.Size:], []byte{0})
	return m.data[s.Off:][:s.Size+uint64(len(last))]
}

// gplCompatible are the licenses that do not taint (include/linux/license.h).
var gplCompatible = map[string]bool{
	"GPL": true, "GPL v2": true, "GPL and additional rights": true,
	"Dual BSD/GPL": true, "Dual MIT/GPL": true, "Dual MPL/GPL": true,
}

// checkBlacklist is module_blacklist=NAME,NAME on the kernel's command line.
func checkBlacklist(c *Check, m *module) []Finding {
	list, _ := c.kernelArgument("module_blacklist")
	for name := range strings.SplitSeq(list, ",") {
		if name != "" && name == m.infoName {
			return []Finding{{Rule: Blacklisted, Severity: Fail, Errno: EPERM, Text: "module_blacklist= on the kernel's command line names it",
				Dmesg: []string{"Module " + m.infoName + " is blacklisted"}}}
		}
	}
	return nil
}

// checkVermagic is the first part of check_modinfo.
func checkVermagic(c *Check, m *module) []Finding {
	have, ok := m.modinfo["vermagic"]
	want := m.facts.Vermagic
	if !ok || c.Flags&IgnoreVermagic != 0 {
		f := m.force("bad vermagic", "it does not say for which kernel it was built (no vermagic)")
		f.Rule = NoVermagic
		return []Finding{f}
	}
	if want.Value == "" {
		m.used = append(m.used, kernel.Unknown)
		return m.checkRelease(c, have)
	}
	m.used = append(m.used, want.From.Source)
	versions := m.hasVersions(c)
	if m.sameMagic(have, want.Value, versions) {
		return nil
	}
	return []Finding{{Rule: Vermagic, Severity: Fail, Errno: ENOEXEC, From: want.From.Source,
		Text:  vermagicText(have, want.Value, versions),
		Dmesg: []string{fmt.Sprintf("%s: version magic '%s' should be '%s'", m.infoName, have, want.Value)}}}
}

// hasVersions tells whether the loader sees checksums of symbols in the module.
func (m *module) hasVersions(c *Check) bool {
	s := m.elf.Section("__versions")
	return c.Flags&IgnoreModversions == 0 && s != nil && s.Flags&elf.SHF_ALLOC != 0
}

// sameMagic compares as same_magic does: with MODVERSIONS in the kernel, the release
// of a module that has checksums does not count.
func (m *module) sameMagic(have, want string, versions bool) bool {
	if versions && m.modversions() {
		have, want = afterRelease(have), afterRelease(want)
	}
	return have == want
}

// modversions tells whether the kernel compares checksums. The vermagic says so too.
func (m *module) modversions() bool {
	if o := m.facts.Option("MODVERSIONS"); o.Known() {
		return o.Yes()
	}
	return strings.Contains(m.facts.Vermagic.Value+" ", " modversions ")
}

func afterRelease(magic string) string {
	if i := strings.IndexByte(magic, ' '); i >= 0 {
		return magic[i:]
	}
	return ""
}

// vermagicText tells what differs.
func vermagicText(have, want string, versions bool) string {
	a, b := strings.Fields(have), strings.Fields(want)
	var parts []string
	if !versions && len(a) > 0 && len(b) > 0 && a[0] != b[0] {
		parts = append(parts, fmt.Sprintf("it was built for %s, the kernel is %s", a[0], b[0]))
	}
	if missing := without(b, a); len(missing) > 0 {
		parts = append(parts, "the kernel has "+strings.Join(missing, ", ")+", the module has not")
	}
	if extra := without(a, b); len(extra) > 0 {
		parts = append(parts, "the module has "+strings.Join(extra, ", ")+", the kernel has not")
	}
	if len(parts) == 0 {
		return fmt.Sprintf("version magic '%s', the kernel's is '%s'", have, want)
	}
	return strings.Join(parts, "; ")
}

// without gives the words of a, but for the first, that b has not.
func without(a, b []string) (missing []string) {
	in := make(map[string]bool)
	for _, word := range b {
		in[word] = true
	}
	for i, word := range a {
		if i > 0 && !in[word] {
			missing = append(missing, word)
		}
	}
	return missing
}

// checkRelease compares with the kernel's release, which is the beginning of its
// vermagic, when the rest is not known.
func (m *module) checkRelease(c *Check, have string) []Finding {
	want := m.facts.Release
	built, _, _ := strings.Cut(have, " ")
	if want.Value == "" || built == want.Value || m.hasVersions(c) && !m.facts.Option("MODVERSIONS").No() {
		return nil
	}
	return []Finding{{Rule: Vermagic, Severity: Fail, Errno: ENOEXEC, From: want.From.Source,
		Text:  fmt.Sprintf("it was built for %s, the kernel is %s", built, want.Value),
		Dmesg: []string{fmt.Sprintf("%s: version magic '%s' should be '%s <options>'", m.infoName, have, want.Value)}}}
}

// force is try_to_force_load: what is missing is forgiven with MODULE_FORCE_LOAD,
// else refused without a word.
func (m *module) force(reason, text string) Finding {
	option := m.facts.Option("MODULE_FORCE_LOAD")
	f := Finding{Severity: Warn, Text: text, From: option.From.Source}
	switch {
	case option.Yes():
		f.Severity = Info
		f.Dmesg = m.lines(taintForced, m.name+": "+reason+": kernel tainted.", lockDebugging)
	case option.No():
		f.Severity, f.Errno = Fail, ENOEXEC
	default:
		m.used = append(m.used, kernel.Unknown)
		f.Text += "; refused unless the kernel has MODULE_FORCE_LOAD"
	}
	return f
}

// checkLivepatch is check_modinfo_livepatch. The kernel's text has no newline, so it
// may show up later in the log.
func checkLivepatch(_ *Check, m *module) []Finding {
	if _, marked := m.modinfo["livepatch"]; !marked {
		return nil
	}
	option := m.facts.Option("LIVEPATCH")
	if !option.No() {
		return nil
	}
	return []Finding{{Rule: Livepatch, Severity: Fail, Errno: ENOEXEC, From: option.From.Source, Text: "it is a live patch, and the kernel has no live patching",
		Dmesg: []string{m.name + ": module is marked as livepatch module, but livepatch support is disabled"}}}
}

// checkLoaded: a name can be there once. The kernel does not say anything.
func checkLoaded(_ *Check, m *module) []Finding {
	switch {
	case m.loaded.has(m.name):
		return []Finding{{Rule: Blacklisted, Severity: Fail, Errno: EEXIST, Text: "a module of the name " + m.name + " is loaded already",
			Hint: "unload that one first, or leave this one out"}}
	case m.facts.BuiltIn[m.name]:
		return []Finding{{Rule: Blacklisted, Severity: Warn, Text: "a module of the name " + m.name + " is built into the kernel: modprobe takes that one",
			Hint: "leave this one out"}}
	}
	return nil
}

// checkFlags is module_enforce_rwx_sections: with STRICT_MODULE_RWX no section may be
// for writing and for code.
func checkFlags(_ *Check, m *module) []Finding {
	option := m.facts.Option("STRICT_MODULE_RWX")
	const both = elf.SHF_WRITE | elf.SHF_EXECINSTR
	for i := range m.elf.Sections {
		s := &m.elf.Sections[i]
		if s.Flags&both != both || option.No() {
			continue
		}
		f := Finding{Rule: ELFHeader, Severity: Fail, Errno: ENOEXEC, Section: s.Name, From: option.From.Source,
			Text:  "section " + s.Name + " is for writing and for code, which the kernel does not allow",
			Hint:  "give the section one of both flags in the assembler or linker script that makes it",
			Dmesg: []string{fmt.Sprintf("%s: section %s (index %d) has invalid WRITE|EXEC flags", m.name, s.Name, i)}}
		if !option.Known() {
			f.Severity, f.Errno, f.Dmesg = Warn, 0, nil
			f.Text += " with STRICT_MODULE_RWX"
		}
		return []Finding{f}
	}
	return nil
}
