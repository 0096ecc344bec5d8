package preflight

import "io/fs"

// checkFirmware looks for the files that the module may ask for. Many are one of
// several alternatives, so a missing one is no error.
func checkFirmware(c *Check, m *module) (findings []Finding) {
	if c.Firmware == nil {
		return nil
	}
	for _, field := range m.fields {
		if field.Key == "firmware" && !m.hasFirmware(c.Firmware, field.Value) {
			findings = append(findings, Finding{Rule: Firmware, Severity: Warn, Text: "firmware " + field.Value + " is not there",
				Hint: "add it below lib/firmware, if the device needs it"})
		}
	}
	return findings
}

// hasFirmware looks for a file and its packed forms, as far as the kernel unpacks them
// (drivers/base/firmware_loader/main.c).
func (m *module) hasFirmware(dir fs.FS, name string) bool {
	for suffix, option := range map[string]string{"": "", ".xz": "FW_LOADER_COMPRESS_XZ", ".zst": "FW_LOADER_COMPRESS_ZSTD"} {
		if option != "" && m.facts.Option(option).No() {
			continue
		}
		if fs.ValidPath(name + suffix) {
			if _, err := fs.Stat(dir, name+suffix); err == nil {
				return true
			}
		}
	}
	return false
}
