// Package preflight tells, from a module's file and what is known of a kernel,
// whether the kernel would load the module, and if not, what its log would say.
//
// It follows load_module in kernel/module/main.c step by step, in that order, but
// goes on after the first step that fails: the finding that the kernel would report
// is marked, the others are what would come next.
package preflight

import (
	"io/fs"

	"github.com/kstage/kstage/modinfo/kernel"
)

// A Verdict is what would become of a module.
type Verdict uint8

// The verdicts.
const (
	Loads   Verdict = iota
	Fails           // the kernel would refuse it
	Crashes         // it would be accepted, and fault
	Unknown         // too little is known of the kernel, or of the file
)

// String gives loads, fails, crashes, unknown.
func (v Verdict) String() string {
	return [...]string{"loads", "fails", "crashes", "unknown"}[v]
}

// MarshalText is String, for JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Severity tells what a finding means for the module.
type Severity uint8

// Severities.
const (
	Info  Severity = iota // the kernel would be tainted, or the like
	Warn                  // it may go wrong, or something is not known
	Crash                 // accepted by the loader, and then faults
	Fail                  // refused
)

// String gives info, warn, crash, fail.
func (s Severity) String() string { return [...]string{"info", "warn", "crash", "fail"}[s] }

// MarshalText is String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is one thing that is to be said of a module.
type Finding struct {
	Rule     Rule
	Severity Severity
	Errno    Errno         // what the system call would return; 0 unless Severity is Fail
	Text     string        // what it is, for people, in the voice of an error
	Hint     string        // what to do
	Section  string        // where it is, when it is in one section
	Symbol   string        // and at one symbol
	Offset   uint64        // in the section, when Section is set
	Dmesg    []string      // the lines of the kernel's log; empty when it is silent
	From     kernel.Source // what the prediction rests on; Unknown: on the module's file alone
	// Reported marks the finding that the kernel would report: the loader stops at
	// the first step that fails. One step may have several, as each unknown symbol.
	Reported bool
}

// A Result is what is said of one module.
type Result struct {
	Path     string // as it was named
	Module   string // the module's own name, else the file's
	Verdict  Verdict
	Errno    Errno         // 0 when it loads
	Dmesg    []string      // the lines of the kernel's log, with taints; values that nobody can know are <address>
	From     kernel.Source // the weakest source that the verdict rests on; Unknown when on none
	Findings []Finding     // in the kernel's order
}

// Flags of the system call finit_module (include/uapi/linux/module.h).
const (
	IgnoreModversions = 1
	IgnoreVermagic    = 2
	CompressedFile    = 4
)

// A Check is the kernel's side of the question. The zero value knows nothing of the
// kernel, and finds only what is wrong for each.
type Check struct {
	Kernel *kernel.Facts
	// Cmdline is the kernel's command line, of which module_blacklist=,
	// module.sig_enforce, lockdown= and the like count.
	Cmdline string
	// Params are what the module is given, "name=value name".
	Params string
	// Flags are those of finit_module. Without CompressedFile a compressed file is
	// unpacked first, as kmod does for kernels that cannot.
	Flags int
	// Raw hands the file to the kernel as it is, as a tool would that cannot unpack it.
	Raw bool
	// Firmware is where firmware is looked for, nil for nowhere.
	Firmware fs.FS
	// MaxModuleSize is the largest unpacked module in bytes; 0 means modinfo.DefaultMaxSize.
	MaxModuleSize int64

	modprobe bool // the view of modprobe, not of insmod
}
