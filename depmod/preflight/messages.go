package preflight

import "debug/elf"

// A message is one text of the loader, or of a tool that calls it. Words in braces
// stand for what differs:
//
//	{module} {symbol} {errno} {number} {text} {address}
//	{type}    a relocation's number
//	{unwind}  one that unwind tables bring on riscv, {tls} and {dynamic} the like
//	{tool}    how modprobe, insmod, busybox and systemd begin
type message struct {
	text    string
	rule    Rule        // what Check would call it
	errno   Errno       // what the call returned; 0 when the module loads all the same
	machine elf.Machine // whose relocations {type} counts, where the text tells
	meaning string      // "" for the rule's
	causes  []Cause     // likely first; none: the rule's own
}

// because makes the causes of rules, in their own words.
func because(all ...Rule) []Cause {
	causes := make([]Cause, len(all))
	for i, r := range all {
		causes[i] = Cause{Rule: r, Text: r.Meaning(), Cure: r.Cure()}
	}
	return causes
}

var (
	unwindCauses = []Cause{
		{RelocUnsupported, "the module carries unwind tables (.eh_frame), which compilers write by default since gcc 13, and the kernel is older than 6.7", UnwindCure},
		{RelocUnsupported, "it was assembled from code that the kernel's own build never has", RelocUnsupported.Cure()},
	}
	unknownCauses = because(UnknownSymbol, DepNotStaged, GPLOnly)
	formatCauses  = []Cause{
		{Compression, "the file is compressed, and the tool handed it to the kernel as it is", "load it with a modprobe or insmod that unpacks it, or unpack it"},
		{ELFHeader, "the file is empty, cut off, or something else than a module, such as an error page that was downloaded", ELFHeader.Cure()},
	}
)

// messages are in the order of load_module, and within a step the special before
// the general. Sources: kernel/module/*.c, kernel/params.c and arch/*/kernel/module*.c
// of 4.15 to 7.3; kmod's and busybox's own texts.
var messages = []message{
	// kernel/module/decompress.c
	{text: "not an xz compressed module", rule: Compression, errno: EINVAL},
	{text: "not a gzip compressed module", rule: Compression, errno: EINVAL},
	{text: "not a zstd compressed module", rule: Compression, errno: EINVAL},
	{text: "ZSTD-compressed data has {text}", rule: Compression, errno: EINVAL},
	{text: "decompression failed with status {number}", rule: Compression, errno: EINVAL,
		causes: []Cause{
			{Compression, "an xz file has checksums that the kernel does not know (6 in the message; xz writes CRC64 by default)", "pack it with xz --check=crc32 --lzma2=dict=2MiB"},
			{Compression, "the file is damaged", "copy it again"},
		}},

	// kernel/module/signing.c, certs/
	{text: "Loading of unsigned module is rejected", rule: Unsigned, errno: EKEYREJECTED},
	{text: "Loading of module with unsupported crypto is rejected", rule: SignatureBroken, errno: EKEYREJECTED},
	{text: "Loading of module with unavailable key is rejected", rule: Untrusted, errno: EKEYREJECTED},
	{text: "{module}: not signed with expected PKCS#7 message", rule: SignatureBroken,
		meaning: "what stands at the end of the module looks like a signature, and is none that the kernel can read; it counts as unsigned"},
	{text: "PKCS7: Invalid module sig", rule: SignatureBroken, errno: EKEYREJECTED},
	{text: "Module hash {text} is blacklisted", rule: Blacklisted, errno: EPERM,
		meaning: "this very file is on the kernel's or the firmware's list of revoked modules",
		causes:  []Cause{{Blacklisted, "its hash is in the blacklist keyring (CONFIG_SYSTEM_BLACKLIST_HASH_LIST, or dbx of UEFI)", "take a newer build of the module"}}},
	{text: "Lockdown: {text}: unsigned module loading is restricted", rule: Unsigned, errno: EPERM},
	{text: "{module}: module verification failed: signature and/or required key missing", rule: Unsigned,
		meaning: "the module has no signature, or one of a key that the kernel does not know; it loads all the same, and taints the kernel (E)"},
	{text: "Module {module} signature verification failed in FIPS mode", rule: Untrusted, errno: EKEYREJECTED},

	// elf_validity_check
	{text: "Invalid ELF header len", rule: ELFHeader, errno: ENOEXEC, causes: formatCauses},
	{text: "Invalid ELF header magic", rule: ELFHeader, errno: ENOEXEC, causes: formatCauses},
	{text: "Invalid ELF header type: {number}", rule: ELFHeader, errno: ENOEXEC,
		meaning: "the file is an ELF file, but no relocatable object as modules are: 2 is a program, 3 a shared library"},
	{text: "Invalid architecture in ELF header: {machine}", rule: WrongMachine, errno: ENOEXEC},
	{text: "Invalid module architecture in ELF header: {machine}", rule: WrongMachine, errno: ENOEXEC},
	{text: "Invalid ELF section header overflow", rule: ELFHeader, errno: ENOEXEC,
		meaning: "the table of sections, which stands at the end of a module, lies outside the file: most likely it is cut off"},
	{text: "Module has invalid ELF structures", rule: ELFHeader, errno: ENOEXEC},
	{text: "Invalid ELF", rule: ELFHeader, errno: ENOEXEC},
	{text: "ELF Spec violation", rule: ELFHeader, errno: ENOEXEC},
	{text: "Only one .modinfo section must exist", rule: ELFHeader, errno: ENOEXEC},
	{text: "{module}: module has no symbols (stripped?)", rule: Stripped, errno: ENOEXEC},
	{text: "{module}: No module found in object", rule: ELFHeader, errno: ENOEXEC,
		meaning: "the file is an object, but not a module: .gnu.linkonce.this_module is missing, as in the .o that modpost has not seen"},
	{text: "module {module}: Only one .gnu.linkonce.this_module section must exist", rule: ELFHeader, errno: ENOEXEC},
	{text: "module {module}: Exactly one .gnu.linkonce.this_module section must exist", rule: ELFHeader, errno: ENOEXEC},
	{text: "module {module}: .gnu.linkonce.this_module section size must match", rule: ThisModuleSize, errno: ENOEXEC},
	{text: "module {module}: .gnu.linkonce.this_module", rule: ELFHeader, errno: ENOEXEC},

	// early_mod_check, check_modinfo
	{text: "Module {module} is blacklisted", rule: Blacklisted, errno: EPERM},
	{text: "{module}: disagrees about version of symbol module_layout", rule: CRC, errno: ENOEXEC,
		meaning: "the kernel's own structures (module_layout) differ from those that the module was built against: another configuration, compiler or release"},
	{text: "{module}: version magic '{text}' should be '{text}'", rule: Vermagic, errno: ENOEXEC},
	{text: "{module}: bad vermagic: kernel tainted", rule: NoVermagic},
	{text: "{module}: module is marked as livepatch module, but livepatch support is disabled", rule: Livepatch, errno: ENOEXEC},
	{text: "{module}: tainting kernel with TAINT_LIVEPATCH", rule: Taint},
	{text: "{module}: loading module not compiled with retpoline compiler", rule: Taint},
	{text: "{module}: loading out-of-tree module taints kernel", rule: Taint},
	{text: "{module}: module is from the staging directory", rule: Taint},
	{text: "{module}: loading test module taints kernel", rule: Taint},
	{text: "{module}: module license '{text}' taints kernel", rule: Taint,
		meaning: "the module has a license that is not compatible with the GPL; symbols for GPL modules only are unknown to it"},
	{text: "{module}: module license taints kernel", rule: Taint},
	{text: "Disabling lock debugging due to kernel taint", rule: Taint,
		meaning: "the kernel stops to look for faulty locking, since it is tainted; the line before tells by what"},
	{text: "{module}: no versions for exported symbols", rule: CRC,
		meaning: "the module exports symbols without checksums: it was built without CONFIG_MODVERSIONS"},

	// simplify_symbols
	{text: "{module}: disagrees about version of symbol {symbol}", rule: CRC, errno: EINVAL},
	{text: "{module}: no symbol version for {symbol}", rule: CRC, errno: EINVAL,
		meaning: "the module has no checksum for a symbol that it uses, and this kernel wants one: modpost did not know the symbol"},
	{text: "{module}: module uses symbol ({symbol}) from namespace {text}, but does not import it", rule: Namespace, errno: EINVAL},
	{text: "{module}: module tries to import module namespace: {text}", rule: Namespace, errno: EINVAL,
		meaning: "the module imports a namespace that is kept for the modules it names"},
	{text: "{module}: module using GPL-only symbols uses symbols {symbol} from proprietary module", rule: GPLOnly, errno: ENOENT,
		meaning: "the module uses GPL-only symbols and those of a proprietary module: it cannot have both"},
	{text: "{module}: module uses symbols {symbol} from proprietary module", rule: Taint},
	{text: "{module}: gave up waiting for init of module {text}", rule: DepNotStaged, errno: EBUSY,
		meaning: "a module that this one needs was still starting after 30 seconds"},
	{text: "{module}: Unknown symbol {symbol} (err -2)", rule: UnknownSymbol, errno: ENOENT, meaning: unknownMeaning, causes: unknownCauses},
	{text: "{module}: Unknown symbol {symbol} (err -22)", rule: CRC, errno: EINVAL,
		meaning: "the symbol is there, but the module may not have it as it is; the line before tells why", causes: because(CRC, Namespace)},
	{text: "{module}: Unknown symbol {symbol} (err -16)", rule: DepNotStaged, errno: EBUSY,
		meaning: "the module that has the symbol was still starting"},
	{text: "{module}: Unknown symbol {symbol} (err {errno})", rule: UnknownSymbol, meaning: unknownMeaning, causes: unknownCauses},
	{text: "{module}: Unknown symbol {symbol}", rule: UnknownSymbol, errno: ENOENT, meaning: unknownMeaning, causes: unknownCauses},
	{text: "{module}: please compile with -fno-common", rule: ELFHeader, errno: ENOEXEC,
		meaning: "the module has common symbols, which only a linker can place",
		causes:  []Cause{{ELFHeader, "it was not compiled with the kernel's own flags", "compile with -fno-common, as the kernel's Makefiles do"}}},

	// apply_relocations: arch/riscv
	{text: "{module}: Unknown relocation type {unwind}", rule: RelocUnsupported, errno: EINVAL, machine: elf.EM_RISCV, causes: unwindCauses},
	{text: "{module}: Unknown relocation type {tls}", rule: RelocTLSDynamic, errno: EINVAL, machine: elf.EM_RISCV},
	{text: "{module}: Unknown relocation type {dynamic}", rule: RelocTLSDynamic, errno: EINVAL, machine: elf.EM_RISCV},
	{text: "{module}: Unknown relocation type {type}", rule: RelocUnsupported, errno: EINVAL, machine: elf.EM_RISCV},
	{text: "{module}: The unexpected relocation type 'R_RISCV_ALIGN'", rule: RelocAlign, errno: EINVAL},
	{text: "{module}: target 0000000000000000 can not be addressed by the 32-bit offset", rule: WeakUnresolved, errno: EINVAL},
	{text: "{module}: target {address} can not be addressed by the 32-bit offset", rule: RelocRange, errno: EINVAL},
	{text: "{module}: can not generate the GOT entry for symbol", rule: RelocGOT, errno: EINVAL},
	{text: "{module}: Can not find HI20 ", rule: RelocRange, errno: EINVAL,
		meaning: "the lower half of an address stands alone in a section: a tool changed the module after it was compiled, or it was written by hand"},
	{text: "{module}: value {address} out of range for 32-bit field", rule: RelocRange, errno: EINVAL},
	{text: "{module}: value {number} out of range for {number}-bit relocation", rule: RelocRange,
		meaning: "a difference of addresses does not fit; the kernel loads the module all the same"},
	{text: "{module}: Dynamic linking not supported in kernel modules", rule: RelocTLSDynamic, errno: EINVAL},
	{text: "{module}: Thread local storage not supported in kernel modules", rule: RelocTLSDynamic, errno: EINVAL},
	{text: "{module}: REL relocation unsupported", rule: RelocRange, errno: ENOEXEC,
		meaning: "the module has relocations without addends, which this machine does not use"},
	{text: "{module}: module PLT section(s) missing", rule: ELFHeader, errno: ENOEXEC, meaning: "the module was linked without the kernel's module.lds"},
	{text: "{module}: module GOT section(s) missing", rule: ELFHeader, errno: ENOEXEC, meaning: "the module was linked without the kernel's module.lds"},
	{text: "{module}: module GOT.PLT section(s) missing", rule: ELFHeader, errno: ENOEXEC, meaning: "the module was linked without the kernel's module.lds"},

	// and the other machines
	{text: "{module}: Unknown rela relocation: {type}", rule: RelocUnsupported, errno: ENOEXEC, machine: elf.EM_X86_64},
	{text: "module {module}: unsupported RELA relocation: {type}", rule: RelocUnsupported, errno: ENOEXEC, machine: elf.EM_AARCH64},
	{text: "{module}: Unknown relocation type {type}", rule: RelocUnsupported, errno: EINVAL, machine: elf.EM_LOONGARCH},
	{text: "{module}: Unsupport relocation type {type}", rule: RelocUnsupported, errno: EINVAL, machine: elf.EM_LOONGARCH},
	{text: "{module}: unknown relocation: {type}", rule: RelocUnsupported, errno: ENOEXEC, machine: elf.EM_ARM},
	{text: "module {module}: overflow in relocation type {type}", rule: RelocRange, errno: ENOEXEC, machine: elf.EM_AARCH64},
	{text: "overflow in relocation type {type}", rule: RelocRange, errno: ENOEXEC, machine: elf.EM_X86_64},
	{text: "`{module}' likely not compiled with -mcmodel=kernel", rule: RelocRange, errno: ENOEXEC,
		causes: []Cause{{RelocRange, "it was not compiled with the kernel's own flags", "compile with -mcmodel=kernel, as the kernel's Makefiles do"}}},
	{text: "Invalid relocation target, existing value", rule: RelocRange, errno: ENOEXEC},

	// the rest of load_module
	{text: "{module}: exports duplicate symbol {symbol} (owned by {text})", rule: DuplicateExport, errno: ENOEXEC},
	{text: "failed to validate module [{module}] BTF: {number}", rule: BTF, errno: EINVAL},
	{text: "Kernel module BTF mismatch detected", rule: BTF,
		meaning: "the type information of some module does not fit the kernel; it loads all the same, and BPF programs cannot use its types"},
	{text: "{module}: unknown parameter '{text}' ignored", rule: Params,
		meaning: "the module has no parameter of that name; it loads all the same"},
	{text: "{module}: Unknown parameter `{text}'", rule: Params, errno: ENOENT},
	{text: "{module}: `{text}' too large for parameter `{text}'", rule: Params, errno: EINVAL},
	{text: "{module}: `{text}' invalid for parameter `{text}'", rule: Params, errno: EINVAL},
	{text: "{module}: Ignoring obsolete parameters", rule: Params},
	{text: "{module}: '{text}'->init suspiciously returned {number}",
		meaning: "the module's own init function returned a number that means nothing; the module stays loaded"},

	// kernel/module/kmod.c: modprobe is a program that the kernel must start, which takes a
	// module if there is no other way, for which it starts modprobe
	{text: "request_module: modprobe binfmt-464c", meaning: wrongModprobeMeaning, causes: wrongModprobeCauses},
	{text: "request_module: runaway loop modprobe binfmt-464c", meaning: wrongModprobeMeaning, causes: wrongModprobeCauses},
	{text: "request_module: kmod_concurrent_max ({number}) close to 0 (max_modprobes: {number}), for module binfmt-464c", meaning: wrongModprobeMeaning, causes: wrongModprobeCauses},
	{text: "request_module: modprobe {module} cannot be processed", meaning: busyMeaning, causes: busyCauses},
	{text: "request_module: runaway loop modprobe {module}", meaning: busyMeaning, causes: busyCauses},
	{text: "request_module: kmod_concurrent_max ({number}) close to 0 (max_modprobes: {number}), for module {module}, throttling", meaning: busyMeaning, causes: busyCauses},

	// kmod, busybox, systemd: what the system call returned, and no more
	{text: "{tool}Invalid module format", rule: Vermagic, errno: ENOEXEC, meaning: "the kernel refused the file itself; its log, dmesg, has the reason",
		causes: because(Vermagic, CRC, WrongMachine, ELFHeader, Stripped, ThisModuleSize, DuplicateExport)},
	{text: "{tool}Exec format error", rule: Vermagic, errno: ENOEXEC, meaning: "the kernel refused the file itself; its log, dmesg, has the reason",
		causes: because(Vermagic, CRC, WrongMachine, ELFHeader, Stripped, ThisModuleSize, DuplicateExport)},
	{text: "{tool}Unknown symbol in module", rule: UnknownSymbol, errno: ENOENT, causes: unknownCauses,
		meaning: "the module needs a symbol that it does not get; dmesg names it"},
	{text: "{tool}Invalid parameters", rule: RelocUnsupported, errno: EINVAL, meaning: invalidMeaning, causes: invalidCauses},
	{text: "{tool}Invalid argument", rule: RelocUnsupported, errno: EINVAL, meaning: invalidMeaning, causes: invalidCauses},
	{text: "{tool}Module has wrong symbol version", rule: CRC, errno: ESRCH},
	{text: "{tool}Key was rejected by service", rule: Untrusted, errno: EKEYREJECTED, causes: because(Unsigned, Untrusted)},
	{text: "{tool}Required key not available", rule: Unsigned, errno: ENOKEY, causes: because(Unsigned, Untrusted)},
	{text: "{tool}Bad message", rule: SignatureBroken, errno: EBADMSG},
	{text: "{tool}Operation not permitted", rule: Blacklisted, errno: EPERM, meaning: "the kernel may not, or must not, load this module now",
		causes: append(because(Blacklisted, Unsigned), Cause{"", "whoever asked is not root, or kernel.modules_disabled is 1", "load it as root, before modules_disabled is set"})},
	{text: "{tool}Operation not supported", rule: Compression, errno: EOPNOTSUPP},
	{text: "{tool}Module already in kernel", errno: EEXIST, meaning: loadedMeaning},
	{text: "{tool}File exists", errno: EEXIST, meaning: loadedMeaning},
	{text: "{tool}No such device", errno: ENODEV, meaning: "the kernel accepted the module, and its own init function did not find its device",
		causes: []Cause{{"", "the hardware is not there, or the device tree does not name it", "see what the module itself says in dmesg"}}},
	{text: "{tool}No such file or directory", rule: UnknownSymbol, errno: ENOENT,
		meaning: "the file is not there, or the module needs a symbol that it does not get; dmesg names it", causes: unknownCauses},
	{text: "Module {module} not found in directory {text}", rule: DepNotStaged,
		meaning: "modules.dep knows no module of this name",
		causes: []Cause{{DepNotStaged, "the module is not in the tree, or came after the index was made", "put it below lib/modules/VERSION and run kstage depmod or kstage pack"},
			{"", "it is built into the kernel, and modules.builtin is missing", "give kstage pack the kernel's build directory: --kernel-build"}}},
}

const (
	unknownMeaning = "the module needs a symbol, and neither the kernel nor a loaded module has one of that name for it"
	loadedMeaning  = "a module of this name is loaded already, or built into the kernel; names count, not files"
	invalidMeaning = "this seldom is about parameters: the loader returns EINVAL for relocations, symbol versions and namespaces too; dmesg has the reason"
)

// binfmt-464c is named for the bytes "LF" of an ELF file (search_binary_handler in
// fs/exec.c), as a machine reads them that is little-endian.
const wrongModprobeMeaning = "the kernel needs a module to start an ELF program, and starts modprobe for it, which is such a program itself: that goes round in a circle until it gives up, after a minute and more"

var wrongModprobeCauses = []Cause{
	{"", "modprobe in the image, or the dynamic loader that it names, is for another machine, such as that of the host", "put this machine's build of it into the tree; kstage boot and kstage pack tell which program is for another"},
	{"", "the kernel cannot start ELF programs at all: CONFIG_BINFMT_ELF is not set", "set it in the kernel's configuration"},
}

const busyMeaning = "the kernel has asked for so many modules at once that no more modprobe can be started"

var busyCauses = []Cause{
	{"", "modprobe does something for which the kernel needs a module, and so starts itself", "look in the log for what module is asked for again and again; modprobe.d may have an install line that causes it"},
	{"", "many devices need the same module, and modprobe takes long to look for it", "load it early, in a fixed place, or build it into the kernel"},
}

var invalidCauses = because(RelocUnsupported, CRC, Namespace, RelocGOT, RelocAlign, WeakUnresolved, Params)
