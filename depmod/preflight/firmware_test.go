package preflight

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// Firmware is looked for where the kernel looks, in the packings that it unpacks.
func TestCheckFirmware(t *testing.T) {
	dir := fstest.MapFS{"plain.bin": {}, "packed.bin.zst": {}, "old.bin.xz": {}, "updates/new.bin": {}, "updates/6.1.0/own.bin": {},
		"6.1.0/own-too.bin": {}, "6.2.0/other.bin": {}, "brcm/fmac4330-sdio.bin": {}}
	names := []string{"plain.bin", "packed.bin", "old.bin", "new.bin", "own.bin", "own-too.bin", "other.bin", "brcm/fmac*-sdio.bin", "brcm/none*.bin"}
	for _, c := range []struct {
		config  kernel.Config
		missing string
	}{
		{nil, "other.bin brcm/none*.bin"},
		{kernel.Config{"FW_LOADER_COMPRESS_XZ": "y", "FW_LOADER_COMPRESS_ZSTD": "y"}, "other.bin brcm/none*.bin"},
		{kernel.Config{"FW_LOADER_COMPRESS_XZ": "y"}, "packed.bin other.bin brcm/none*.bin"},
		{kernel.Config{"FW_LOADER_COMPRESS_ZSTD": "y"}, "old.bin other.bin brcm/none*.bin"},
	} {
		facts := new(kernel.Facts)
		facts.AddRelease("6.1.0")
		if c.config != nil {
			facts.AddConfig(c.config, "config")
		}
		m := &module{facts: facts}
		for _, name := range names {
			m.fields = append(m.fields, modinfo.Field{Key: "firmware", Value: name})
		}
		var missing []string
		for _, f := range checkFirmware(&Check{Firmware: dir}, m) {
			name, _, _ := strings.Cut(strings.TrimPrefix(f.Text, "firmware "), ":")
			missing = append(missing, name)
		}
		if got := strings.Join(missing, " "); got != c.missing {
			t.Errorf("%v: missing are %s, not %s", c.config, got, c.missing)
		}
		if len(checkFirmware(new(Check), m)) > 0 {
			t.Error("firmware is missed though nobody told where to look")
		}
	}
}
