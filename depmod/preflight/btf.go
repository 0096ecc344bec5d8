package preflight

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kstage/kstage/modinfo/kernel"
)

// The header of BTF (include/uapi/linux/btf.h):
//
//	magic 0xeb9f 2, version 1 1, flags 0 1, header length 4,
//	types: offset 4, length 4; strings: offset 4, length 4; offsets from the header's end
const (
	btfHeader = 24
	btfMagic  = 0xeb9f
)

// checkBTF is btf_module_notify (kernel/bpf/btf.c). Whether the types fit those of the
// kernel is not looked into, only whether the data is BTF at all and of this kernel.
func checkBTF(_ *Check, m *module) []Finding {
	s := m.elf.Section(".BTF")
	option := m.facts.Option("DEBUG_INFO_BTF_MODULES")
	if s == nil || s.Size == 0 || option.No() {
		return nil
	}
	tolerant := m.facts.Option("MODULE_ALLOW_BTF_MISMATCH")
	f := Finding{Rule: BTF, Severity: Warn, Section: ".BTF", From: max(option.From.Source, tolerant.From.Source)}
	fault := btfFault(m.elf.Content(s))
	switch {
	case fault == "" && !m.otherRelease():
		return nil
	case fault == "":
		f.Text = "its type information (BTF) was made for another kernel"
		if tolerant.Yes() {
			f.Severity = Info
		}
		return []Finding{f}
	}
	f.Text = "its type information (BTF) is damaged: " + fault
	switch {
	case tolerant.Yes():
		f.Dmesg = m.lines(kernel.SaysBTFMismatch, kernel.SaysBTFMismatch+", BTF debug info may be unavailable for some modules", "")
	case option.Yes() && tolerant.No():
		f.Severity, f.Errno = Fail, EINVAL
		f.Dmesg = []string{"failed to validate module [" + m.name + "] BTF: -22"}
	}
	return []Finding{f}
}

// otherRelease tells whether the module was built for another release than the kernel's.
func (m *module) otherRelease() bool {
	if m.facts.Release.Value == "" || m.elf.Section(".BTF.base") != nil {
		return false // distilled types are made to fit others
	}
	built, _, _ := strings.Cut(m.modinfo["vermagic"], " ")
	return built != m.facts.Release.Value
}

// btfFault tells what is wrong with the header; empty when nothing is.
func btfFault(b []byte) string {
	if len(b) < btfHeader {
		return fmt.Sprintf("%d bytes are no header", len(b))
	}
	le := binary.LittleEndian
	if magic := le.Uint16(b); magic != btfMagic {
		return fmt.Sprintf("it begins with 0x%04x, not 0x%04x", magic, btfMagic)
	}
	end := uint64(le.Uint32(b[4:]))
	for _, at := range []int{8, 16} {
		if last := end + uint64(le.Uint32(b[at:])) + uint64(le.Uint32(b[at+4:])); last > uint64(len(b)) {
			return fmt.Sprintf("it claims %d bytes of %d", last, len(b))
		}
	}
	return ""
}
