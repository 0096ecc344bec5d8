package preflight

import (
	"io"

	"github.com/kstage/kstage/modinfo"
)

// read gets the module's bytes as the loader will see them.
func (c *Check) read(u *modinfo.Unpacker, m *module, r io.ReaderAt, size int64) []Finding {
	u.MaxSize = c.MaxModuleSize
	var err error
	if c.Raw {
		m.data, err = u.Raw(r, size)
	} else {
		m.data, _, err = u.Unpack(r, size)
	}
	if err != nil {
		m.data = nil
		return []Finding{{Rule: ELFHeader, Severity: Fail, Errno: ENOEXEC, Text: err.Error()}}
	}
	return nil
}
