package preflight

import (
	"fmt"

	"github.com/kstage/kstage/internal/elf64"
)

// A record of __versions has 8 bytes of checksum, all of which are compared, and 56 of name, filled with NULs.
// The extended form, since 6.14, has the checksums as words of 4 bytes in one
// section and the names, each with its NUL, in another.
const (
	versionsSection = "__versions"
	extCRCsSection  = "__version_ext_crcs"
	extNamesSection = "__version_ext_names"
	versionRecord   = 64
	versionName     = 8
)

// readVersions reads the checksums that the module has of the symbols it needs. Of
// two for one symbol the first counts.
func (m *module) readVersions(c *Check) {
	if c.Flags&IgnoreModversions != 0 {
		return
	}
	if crcs := m.allocated(extCRCsSection); crcs != nil && m.knowsExtendedVersions() {
		m.extended = true
		m.versions = make(map[string]uint64)
		if names := m.allocated(extNamesSection); names != nil {
			m.readExtended(m.elf.Content(crcs), m.elf.Content(names))
		}
		return
	}
	table := m.allocated(versionsSection)
	if table == nil {
		return
	}
	content := m.elf.Content(table)
	m.versions = make(map[string]uint64, len(content)/versionRecord)
	for ; len(content) >= versionRecord; content = content[versionRecord:] {
		m.addVersion(textAt(content[:versionRecord], versionName), elf64.Order.Uint64(content))
	}
}

func (m *module) readExtended(crcs, names []byte) {
	for ; len(crcs) >= 4 && len(names) > 0; crcs = crcs[4:] {
		name := textAt(names, 0)
		m.addVersion(name, uint64(elf64.Order.Uint32(crcs)))
		names = names[min(len(name)+1, len(names)):]
	}
}

func (m *module) addVersion(name []byte, crc uint64) {
	if _, ok := m.versions[string(name)]; !ok {
		m.versions[string(name)] = crc
	}
}

// knowsExtendedVersions tells whether the kernel's loader reads the extended form.
func (m *module) knowsExtendedVersions() bool {
	major, minor, known := release(m.facts)
	return !known || major > 6 || major == 6 && minor >= 14
}

// comparesVersions tells whether the kernel compares checksums: when it does not say,
// then if it has one of module_layout.
func (m *module) comparesVersions() bool {
	if m.facts.Option("MODVERSIONS").Known() || m.facts.Vermagic.Value != "" {
		return m.modversions()
	}
	return m.facts.Exports["module_layout"].HasCRC
}

// compareVersion is check_version for one symbol: ok is false when it is refused.
// There may be a line for the log all the same. A module without any checksums was
// refused, or forgiven, before.
func (m *module) compareVersion(symbol []byte, want uint32) (text string, dmesg []string, ok bool) {
	if m.versions == nil {
		return "", nil, true
	}
	have, listed := m.versions[string(symbol)]
	switch {
	case listed && have == uint64(want):
		return "", nil, true
	case listed:
		return fmt.Sprintf("%s has another interface in this kernel: its checksum is 0x%08x, and 0x%08x where the module was built", symbol, want, have),
			[]string{fmt.Sprintf("%s: disagrees about version of symbol %s", m.infoName, symbol)}, false
	case m.extended:
		return fmt.Sprintf("it has no checksum of %s", symbol), []string{fmt.Sprintf("%s: no extended symbol version for %s", m.infoName, symbol)}, true
	}
	// Debian's kernels refuse it; without their patch it is said once and forgiven,
	// and nothing in an image tells one from the other.
	return fmt.Sprintf("it has no checksum of %s, which kernels like Debian's refuse; others only say so", symbol),
		[]string{fmt.Sprintf("%s: no symbol version for %s", m.infoName, symbol)}, false
}
