package preflight

import (
	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// A module is one file as the loader sees it, taken apart step by step. What is
// nil or empty was not there, or not reached.
type module struct {
	path    string        // as the file was named
	facts   *kernel.Facts // never nil
	loaded  *Loaded       // may be nil
	parsed  bool          // the header was looked at: when elf is nil then, there is nothing more to do
	loader  loader
	signing signing
	noted   []Finding         // while the signature was read, for when it counts as none
	named   bool              // name is the module's own
	fields  []modinfo.Field   // of .modinfo, all of them
	printed map[string]string // lines that come once, see taint.go

	used []kernel.Source // of the facts that the module was compared with: Unknown where one was missing

	name string // from .gnu.linkonce.this_module, else .modinfo, else the file's name
	// infoName is the name that the first steps use: from .modinfo, else as name.
	infoName string
	data     []byte      // the unpacked file without its signature
	elf      *elf64.File // nil unless the loader's own checks of the header held

	symbols   elf64.Symbols
	strings   []byte            // of the symbols
	placeless []uint32          // numbers of the symbols that lie in no section
	constants map[uint32]uint64 // values, by number, of those that are no addresses
	modinfo   map[string]string // the first value of each key, as get_modinfo finds it
	imports   []string          // namespaces, of import_ns
	gpl       bool              // its license counts as GPL compatible
	versions  map[string]uint64 // of __versions, or the extended form; nil: the module has none
	extended  bool              // versions are of the extended form
	exports   []export
}

// An export is a symbol that a module offers to others.
type export struct {
	name      string
	gpl       bool
	namespace string
	crc       uint32
	hasCRC    bool
}

// A step is one part of load_module. It returns its findings; the loader would stop
// behind the first step that has one of severity Fail. Where it reports several, as
// each unknown symbol, the step marks them itself (Reported), and the errno of the
// last one counts; else the first that fails is marked.
//
// A step that compares with a fact of the kernel notes in m.used where that fact is
// from, and kernel.Unknown where it would matter but is not known.
type step struct {
	take func(c *Check, m *module) []Finding
	// late: it depends on the modules that are loaded, and of the module's own bytes
	// takes no more than what compact keeps.
	late bool
}

// steps are in the loader's order (spec: load_module in kernel/module/main.c).
var steps = []step{
	{take: checkSignature},
	{take: checkHeader},
	{take: checkBlacklist},
	{take: readSymbols},
	{take: checkLayout},
	{take: checkVermagic},
	{take: checkEarlyTaints},
	{take: checkLivepatch},
	{take: checkLoaded},
	{take: checkPLT},
	{take: checkFlags},
	{take: checkTaints},
	{take: checkObsoleteTables},
	{take: checkExportVersions},
	{take: checkImports},
	{take: checkSymbols, late: true},
	{take: checkRelocations},
	{take: checkDuplicates, late: true},
	{take: checkBTF},
	{take: checkParams},
	{take: checkFirmware},
	{take: checkELFFlags},
}
