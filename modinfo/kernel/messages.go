package kernel

import "bytes"

// Texts of the module loader that a kernel has or has not, by its version and how
// it was configured. [Facts.Says] tells which. (kernel/module/ in the kernel, before
// 5.19 kernel/module.c; kernel/bpf/btf.c; arch/riscv/kernel/module.c.)
const (
	// SaysHeaderLen: faults of the ELF header are named at all, since 5.19.
	SaysHeaderLen = "Invalid ELF header len"
	// SaysNoModule is what kernels before 6.4 say of a file without .gnu.linkonce.this_module.
	SaysNoModule = "No module found in object"
	// SaysOnlyOneModule and SaysExactlyOneModule are what later ones say.
	SaysOnlyOneModule    = "Only one .gnu.linkonce.this_module section must exist"
	SaysExactlyOneModule = "Exactly one .gnu.linkonce.this_module section must exist"
	// SaysModuleSize: the size of struct module is compared.
	SaysModuleSize = ".gnu.linkonce.this_module section size must match"
	// SaysDisagrees: MODVERSIONS.
	SaysDisagrees = "disagrees about version of symbol"
	// SaysVerificationFailed, SaysRejected: MODULE_SIG.
	SaysVerificationFailed = "module verification failed: signature and/or required key missing"
	SaysRejected           = "Loading of %s is rejected"
	// SaysBadVermagic and SaysNoVersions: MODULE_FORCE_LOAD.
	SaysBadVermagic = "bad vermagic"
	SaysNoVersions  = "no versions for exported symbols"
	// SaysImportError and SaysImportWarning: a namespace that is not imported is an
	// error, or a warning (MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS).
	SaysImportError   = "\x013%s: module uses symbol (%s) from namespace"
	SaysImportWarning = "\x014%s: module uses symbol (%s) from namespace"
	// SaysModuleNamespace: symbols for named modules only ("module:NAME"), since 6.16.
	SaysModuleNamespace = "module tries to import module namespace"
	// SaysBTFMismatch and SaysBTFInvalid: DEBUG_INFO_BTF_MODULES, the first one with
	// MODULE_ALLOW_BTF_MISMATCH. The second one is without it, but in kernels such as
	// 6.1 with it as well.
	SaysBTFMismatch = "Kernel module BTF mismatch detected"
	SaysBTFInvalid  = "failed to validate module [%s] BTF"
	// SaysNotGzip, SaysNotXZ and SaysNotZstd: MODULE_DECOMPRESS, with that format.
	SaysNotGzip = "not a gzip compressed module"
	SaysNotXZ   = "not an xz compressed module"
	SaysNotZstd = "not a zstd compressed module"
	// SaysNoLivepatch: LIVEPATCH is off.
	SaysNoLivepatch = "livepatch support is disabled"
	// SaysNoGOT: riscv without MODULE_SECTIONS.
	SaysNoGOT = "can not generate the GOT entry for symbol"
	// SaysDynamicLinking: riscv's table of relocations since 6.7.
	SaysDynamicLinking = "Dynamic linking not supported in kernel modules"
	// SaysOutOfTree: modules from outside the kernel's source taint it.
	SaysOutOfTree = "loading out-of-tree module taints kernel"
	// SaysTest: so do modules of tests, since 5.19.
	SaysTest = "loading test module taints kernel"
)

// saysVermagic is a text of each loader there is. Without it there is none, or the
// kernel prints nothing (PRINTK is off).
const saysVermagic = "version magic '%s' should be '%s'"

// Messages are the texts that [Facts.Says] knows about.
var Messages = []string{
	SaysHeaderLen, SaysNoModule, SaysOnlyOneModule, SaysExactlyOneModule, SaysModuleSize, SaysDisagrees,
	SaysVerificationFailed, SaysRejected, SaysBadVermagic, SaysNoVersions, SaysImportError, SaysImportWarning,
	SaysModuleNamespace, SaysBTFMismatch, SaysBTFInvalid, SaysNotGzip, SaysNotXZ, SaysNotZstd, SaysNoLivepatch,
	SaysNoGOT, SaysDynamicLinking, SaysOutOfTree, SaysTest,
}

// findMessages looks for them in an image; nil when it has no loader, or a silent one.
func findMessages(data []byte) map[string]bool {
	if !bytes.Contains(data, []byte(saysVermagic)) {
		return nil
	}
	found := make(map[string]bool, len(Messages))
	for _, m := range Messages {
		found[m] = bytes.Contains(data, []byte(m))
	}
	return found
}
