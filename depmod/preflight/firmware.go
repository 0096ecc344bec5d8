package preflight

import (
	"cmp"

	"github.com/kstage/kstage/depmod/firmware"
)

// checkFirmware looks for the files that the module may ask for. Many are one of
// several alternatives, so a missing one is no error.
func checkFirmware(c *Check, m *module) (findings []Finding) {
	if c.Firmware == nil {
		return nil
	}
	var names []firmware.Name
	for _, field := range m.fields {
		if field.Key == "firmware" {
			names = append(names, firmware.Name{Name: field.Value})
		}
	}
	loader := firmware.Loader{Version: m.facts.Release.Value,
		NoXZ: m.facts.Option("FW_LOADER_COMPRESS_XZ").No(), NoZstd: m.facts.Option("FW_LOADER_COMPRESS_ZSTD").No()}
	for _, missing := range loader.Find(c.Firmware, names).Missing {
		findings = append(findings, Finding{Rule: Firmware, Severity: Warn,
			Text: "firmware " + missing.Name.Name + ": " + cmp.Or(missing.Why, "it is not there"),
			Hint: "add it below lib/firmware, if the device needs it"})
	}
	return findings
}
