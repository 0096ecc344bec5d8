package preflight

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kstage/kstage/modinfo/kernel"
)

// The end of a signed module is drawn in package modinfo.
const (
	signatureMark = "~Module signature appended~\n"
	signatureInfo = 12
	signaturePKCS = 2 // id type
)

// A signing is what came out of looking at the signature.
type signing uint8

const (
	signedUnknown  signing = iota // not looked at, or not to be told
	signedTrusted                 // by a key of the kernel
	signedNot                     // no signature
	signedStrange                 // of a form that the kernel cannot check (ENOPKG)
	signedStranger                // by a key that the kernel was not built with (ENOKEY)
)

// checkSignature is module_sig_check (kernel/module/signing.c). It comes before
// anything else is looked at, and takes the signature off.
func checkSignature(c *Check, m *module) []Finding {
	option := m.facts.Option("MODULE_SIG")
	if option.No() {
		return nil
	}
	s, f := signedNot, (*Finding)(nil)
	mangled := c.Flags&(IgnoreModversions|IgnoreVermagic) != 0
	if rest, marked := bytes.CutSuffix(m.data, []byte(signatureMark)); marked && len(rest) > 0 && !mangled {
		s, f = m.takeSignature(rest)
	}
	m.signing = s
	if f == nil {
		return append(slices.Clip(m.noted), c.enforced(m)...)
	}
	f.From = max(f.From, option.From.Source)
	if !option.Known() {
		f.Severity, f.Errno, f.Dmesg = Warn, 0, nil
		f.Text += "; a kernel that looks at signatures refuses it"
	}
	return []Finding{*f}
}

// takeSignature looks at the signature that rest ends with, and leaves the module
// without it (mod_verify_sig, mod_check_sig).
func (m *module) takeSignature(rest []byte) (signing, *Finding) {
	m.data = rest
	if len(rest) <= signatureInfo {
		return signedUnknown, brokenSignature("the file has no room for the signature that it claims")
	}
	at := len(rest) - signatureInfo
	info := rest[at:]
	size := binary.BigEndian.Uint32(info[8:])
	if uint64(size) >= uint64(at) {
		return signedUnknown, brokenSignature(fmt.Sprintf("the signature claims %d bytes, the file has %d", size, len(rest)))
	}
	if info[2] != signaturePKCS {
		m.noted = []Finding{{Rule: SignatureBroken, Severity: Warn, Dmesg: []string{"module: not signed with expected PKCS#7 message"},
			Text: fmt.Sprintf("the signature is of type %d, not PKCS#7; it counts as none", info[2])}}
		return signedStrange, nil
	}
	if info[0]|info[1]|info[3]|info[4]|info[5]|info[6]|info[7] != 0 {
		return signedUnknown, brokenSignature("bytes of the signature's description that must be zero are not",
			"module: PKCS#7 signature info has unexpected non-zero params")
	}
	m.data = rest[:at-int(size)]
	return m.verify(rest[at-int(size) : at])
}

func brokenSignature(text string, dmesg ...string) *Finding {
	return &Finding{Rule: SignatureBroken, Severity: Fail, Errno: EBADMSG, Text: text, Dmesg: dmesg}
}

// enforced tells what becomes of a module without a good signature.
func (c *Check) enforced(m *module) []Finding {
	reason := map[signing]string{
		signedNot: "unsigned module", signedStrange: "module with unsupported crypto", signedStranger: "module with unavailable key",
	}[m.signing]
	force, lockdown := c.signatureForced(m), c.lockdown(m)
	if reason == "" {
		if m.signing == signedUnknown && (force.Yes() || lockdown.Yes()) {
			m.used = append(m.used, kernel.Unknown)
			return []Finding{{Rule: Untrusted, Severity: Warn, From: max(force.From.Source, lockdown.From.Source),
				Text: "the kernel loads modules only that are signed with a key it trusts; its keys are not known"}}
		}
		return nil
	}
	f := Finding{Rule: Unsigned, Severity: Info, Text: "it has no signature"}
	switch m.signing {
	case signedStrange:
		f.Text = "its signature is of a kind that the kernel does not know"
	case signedStranger:
		f.Rule, f.Text = Untrusted, "it is signed with a key that the kernel was not built with"
		f.Hint = "sign it with a key of the kernel; keys of the machine's owner (MOK) and those added later are not seen here"
	}
	switch {
	case force.Yes():
		f.Severity, f.Errno, f.From = Fail, EKEYREJECTED, force.From.Source
		f.Text += ", and the kernel loads signed modules only"
		f.Dmesg = []string{"Loading of " + reason + " is rejected"}
	case lockdown.Yes():
		f.Severity, f.Errno, f.From = Fail, EPERM, lockdown.From.Source
		f.Text += ", and the kernel is locked down"
		f.Dmesg = []string{"Lockdown: " + c.loaderName() + ": unsigned module loading is restricted; see man kernel_lockdown.7"}
	case !force.Known():
		f.Text += "; it is refused if the kernel runs with module.sig_enforce"
	}
	return []Finding{f}
}

// loaderName is the program that calls the kernel, as the log names it.
func (c *Check) loaderName() string {
	if c.modprobe {
		return "modprobe"
	}
	return "insmod"
}

// signatureForced tells whether only signed modules are loaded (sig_enforce).
func (c *Check) signatureForced(m *module) kernel.Option {
	if v, given := c.kernelArgument("module.sig_enforce"); given {
		if on, ok := parseBool(v); ok && on {
			return kernel.Option{Value: "y", From: kernel.Origin{Source: kernel.FromConfig, How: "command line"}}
		}
	}
	return m.facts.Option("MODULE_SIG_FORCE")
}

// lockdown tells whether the kernel is locked down (security/lockdown/lockdown.c).
func (c *Check) lockdown(m *module) kernel.Option {
	if m.facts.Option("SECURITY_LOCKDOWN_LSM").No() {
		return kernel.Option{}
	}
	if v, _ := c.kernelArgument("lockdown"); v == "integrity" || v == "confidentiality" {
		return kernel.Option{Value: "y", From: kernel.Origin{Source: kernel.FromConfig, How: "command line"}}
	}
	for _, name := range []string{"LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY"} {
		if o := m.facts.Option(name); o.Yes() {
			return o
		}
	}
	return kernel.Option{}
}
