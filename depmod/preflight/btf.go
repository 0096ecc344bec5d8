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
		f.Dmesg = append([]string{"BPF: " + fault},
			m.lines(kernel.SaysBTFMismatch, kernel.SaysBTFMismatch+", BTF debug info may be unavailable for some modules", "")...)
	case option.Yes() && tolerant.No():
		f.Severity, f.Errno = Fail, btfErrno(fault)
		f.Dmesg = []string{"BPF: " + fault, fmt.Sprintf("failed to validate module [%s] BTF: -%d", m.name, f.Errno)}
	}
	return []Finding{f}
}

func btfErrno(fault string) Errno {
	switch fault {
	case "Unsupported btf_header":
		return E2BIG
	case "Unsupported version", "Unsupported flags":
		return ENOTSUPP
	}
	return EINVAL
}

// Those that only BTF returns.
const (
	E2BIG    Errno = 7
	ENOTSUPP Errno = 524
)

// otherRelease tells whether the module was built for another release than the kernel's.
func (m *module) otherRelease() bool {
	if m.facts.Release.Value == "" || m.elf.Section(".BTF.base") != nil {
		return false // distilled types are made to fit others
	}
	built, _, _ := strings.Cut(m.modinfo["vermagic"], " ")
	return built != m.facts.Release.Value
}

// btfFault tells what is wrong with the header (btf_parse_hdr, btf_check_sec_info,
// btf_parse_str_sec), in the kernel's words; empty when nothing is.
func btfFault(b []byte) string {
	le := binary.LittleEndian
	if len(b) < 8 {
		return "hdr_len not found"
	}
	size := uint64(le.Uint32(b[4:]))
	if uint64(len(b)) < size {
		return "btf_header not found"
	}
	var header [btfHeader]byte
	n := copy(header[:], b[:size])
	for _, x := range b[n:size] {
		if x != 0 {
			return "Unsupported btf_header"
		}
	}
	switch {
	case le.Uint16(header[:]) != btfMagic:
		return "Invalid magic"
	case header[2] != 1:
		return "Unsupported version"
	case header[3] != 0:
		return "Unsupported flags"
	}
	types := btfPart{uint64(le.Uint32(header[8:])), uint64(le.Uint32(header[12:]))}
	text := btfPart{uint64(le.Uint32(header[16:])), uint64(le.Uint32(header[20:]))}
	return btfParts(b[size:], types, text)
}

// A btfPart is the place of the types or of the strings behind the header.
type btfPart struct{ off, size uint64 }

func btfParts(b []byte, types, text btfPart) string {
	const maxStrings = 0xffffff
	whole, total := uint64(len(b)), uint64(0)
	parts := []btfPart{types, text}
	if text.off < types.off || text.off == types.off && text.size < types.size {
		parts = []btfPart{text, types}
	}
	for _, p := range parts {
		switch {
		case whole < p.off:
			return "Invalid section offset"
		case total < p.off:
			return "Unsupported section found"
		case total > p.off:
			return "Section overlap found"
		case whole-total < p.size:
			return "Total section length too long"
		}
		total += p.size
	}
	switch {
	case total != whole:
		return "Unsupported section found"
	case text.off+text.size != whole:
		return "String section is not at the end"
	case text.size > 0 && (text.size-1 > maxStrings || b[whole-1] != 0):
		return "Invalid string section"
	case types.size > 0 && types.off%4 != 0:
		return "Unaligned type_off"
	}
	return ""
}
