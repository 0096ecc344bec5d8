package preflight

// words are what a rule finds, in one sentence, and what to do about it. Findings
// and the explanations of a log use the same.
type words struct{ meaning, cure string }

// Meaning tells what the rule finds, in the words of the explanations of a log;
// empty for a rule that there is not.
func (r Rule) Meaning() string { return rules[r].meaning }

// Cure tells what to do about a finding of the rule, as far as it does not depend
// on the module.
func (r Rule) Cure() string { return rules[r].cure }

// UnwindCure is what to do about relocations that come from unwind tables: compilers
// write them by default since gcc 13, kernel trees switch them off since 6.2 (and
// the stable releases of February 2023), and the loader has known them since 6.7.
const UnwindCure = "add 'ccflags-y += -fno-asynchronous-unwind-tables -fno-unwind-tables' to the module's Makefile and rebuild it, " +
	"or take a kernel with 8fd6c5142395 (mainline 6.7)"

var rules = map[Rule]words{
	ELFHeader: {"the file is damaged, cut off, or no kernel module at all",
		"copy the file again, or rebuild the module"},
	WrongMachine: {"the module was built for another machine than the kernel's",
		"rebuild it with the ARCH and CROSS_COMPILE of the kernel"},
	Stripped: {"the symbol table was stripped from the module, and the loader cannot do without",
		"strip debug data only: strip -g, or INSTALL_MOD_STRIP=1"},
	RelocUnsupported: {"the module needs a kind of relocation for which this kernel's loader has no handler",
		"rebuild the module with the compiler flags of the kernel's own build, or take a kernel that has the handler"},
	RelocAlign: {"the module was left to the linker to shorten (relaxation), which the loader cannot do",
		"compile and assemble with -mno-relax, in Makefiles 'ccflags-y += -mno-relax' and 'asflags-y += -mno-relax'"},
	RelocTLSDynamic: {"the module has thread-local data, or was linked as a shared library; the kernel knows neither",
		"take __thread out of the sources, and -shared and -ftls-model from the flags"},
	RelocGOT: {"the module is position-independent code, for which this kernel builds no table of addresses (GOT)",
		"add 'ccflags-y += -fno-pic' to the module's Makefile and rebuild it, or set CONFIG_MODULE_SECTIONS=y in the kernel"},
	RelocMedlow: {"the module was compiled for low addresses, and modules lie at high ones; the loader does not see it",
		"compile with -mcmodel=medany, as the kernel is"},
	RelocRange: {"an address does not fit into the place that the module has for it",
		"rebuild the module with the kernel's own flags (-mcmodel=medany, no -fpic); handwritten assembler may be the cause"},
	WeakUnresolved: {"an optional (weak) symbol is not there, and the code cannot reach the address 0 that stands for it",
		"guard its use with IS_ENABLED() or take symbol_get(), or build the kernel with what provides it"},
	Vermagic: {"the module was built for a kernel of another release or with other options",
		"rebuild it against this very kernel: make -C /lib/modules/VERSION/build M=$PWD"},
	NoVermagic: {"the module does not say for which kernel it was built",
		"build it with the kernel's own Makefiles (kbuild), and do not strip .modinfo"},
	ThisModuleSize: {"the module's struct module has not the size of the kernel's: both were configured differently",
		"rebuild it against this kernel's configuration"},
	UnknownSymbol: {"the module needs a symbol that neither the kernel nor a known module exports",
		"set the option of the kernel that provides it, add the module that does, or build for this kernel's interfaces"},
	DepNotStaged: {"the module needs a symbol of another module, which is not there or not loaded",
		"put that module into the tree and load it first; modprobe does it from modules.dep, insmod does not"},
	GPLOnly: {"the kernel shows the symbol only to modules with a license compatible with the GPL",
		"set MODULE_LICENSE(\"GPL\") if that is the license, or do without the symbol; the log calls it unknown"},
	Namespace: {"the module uses a symbol of a namespace that it does not import",
		"add MODULE_IMPORT_NS(\"NAMESPACE\") to the sources; without the quotes before 6.13"},
	CRC: {"the interface behind a symbol is another one than that which the module was built against",
		"rebuild the module against this kernel, with its Module.symvers"},
	DuplicateExport: {"the module exports a symbol that the kernel or a loaded module exports already",
		"load one of the two only, or rename the symbol"},
	LegacyGPLSection: {"the module keeps exported symbols in a section that this kernel ignores",
		"rebuild it against this kernel"},
	Unsigned: {"the module has no signature, and this kernel loads signed modules only",
		"sign it with a key that the kernel trusts (scripts/sign-file), or do without module.sig_enforce and lockdown"},
	SignatureBroken: {"the module's signature is damaged",
		"take the original file, or sign it again; cutting the signature off makes it an unsigned module"},
	Untrusted: {"the module was signed with a key that the kernel does not have, or changed after it was signed",
		"take the original file, or sign it with a key that the kernel trusts"},
	Compression: {"the file is compressed in a way that the kernel, or the tool that loads it, cannot unpack",
		"pack it again (xz --check=crc32 --lzma2=dict=2MiB for kernels that unpack themselves), or leave it unpacked"},
	Firmware: {"the module asks for firmware that is not there",
		"add the file to lib/firmware in the tree"},
	BTF: {"the module's type information (BTF) does not fit that of the kernel",
		"rebuild it against this kernel's vmlinux, or strip it: objcopy -R .BTF -R .BTF.base"},
	Livepatch: {"the module is a live patch, and this kernel has no live patching",
		"set CONFIG_LIVEPATCH=y in the kernel"},
	Blacklisted: {"the kernel was told not to load this module",
		"take it out of module_blacklist= on the kernel's command line"},
	Taint: {"the module loads; the kernel only notes that it is not one of its own", ""},
	ELFFlags: {"the module was compiled for other extensions of the processor than the kernel's own modules",
		"rebuild it with the kernel's -march and -mabi"},
	Params: {"a parameter of the module is unknown to it or has a value that it does not take",
		"see kstage modinfo -p for the parameters; they come from modprobe.d, from MODULE.NAME= on the command line, or from the call"},
}
