package kernel

import (
	"debug/elf"
	"fmt"
)

// Facts are what is known of one kernel, and where it is from. The zero value
// knows nothing; the Add methods put in what a file tells. What a better source has
// told stays: see [Source].
type Facts struct {
	Machine  elf.Machine // 0: unknown
	Release  Text        // "6.12.107+deb13-riscv64"
	Vermagic Text        // "6.12.107+deb13-riscv64 SMP mod_unload modversions riscv"

	// Config is the whole configuration, nil when unknown. Option asks for one, and
	// knows besides what an image tells of itself.
	Config     Config
	ConfigFrom Origin
	// options are those that the image shows, by name without CONFIG_.
	options  map[string]Option
	compared Origin // the configuration that was compared with them
	// messages are the texts of the loader that were looked for in the image, nil
	// without an image.
	messages map[string]bool

	// Exports are the symbols of the kernel itself that modules may use, nil when
	// unknown; ModuleExports those of its modules, which only a Module.symvers tells.
	Exports       map[string]Export
	ModuleExports map[string]Export
	ExportsFrom   Origin

	// Relocations are the types for which the loader has a handler, of machines whose
	// loader has a table of them. A handler may be there only to refuse.
	Relocations     map[uint32]bool
	RelocationsFrom Origin

	// Keys are the certificates (DER) that the kernel was built with and trusts, in
	// order; KeysFrom is Unknown when it was not found out whether there are any.
	Keys     [][]byte
	KeysFrom Origin

	// ModuleSize is the size of the kernel's struct module in bytes, 0 when unknown.
	ModuleSize     uint64
	ModuleSizeFrom Origin

	// ELFFlags are the flags in the ELF header of the kernel's own modules; the kernel
	// itself does not tell them.
	ELFFlags     uint32
	ELFFlagsFrom Origin

	// BuiltIn are the modules that are part of the kernel, nil when unknown.
	BuiltIn map[string]bool

	// Notes are what is to be said of the files that the facts are from: that one
	// tells nothing, or that two are not of the same kernel.
	Notes []Note
}

// A Note is something to be said of a file.
type Note struct {
	File string
	Text string
	Hint string // what to do; may be empty
}

func (f *Facts) note(file, hint, format string, args ...any) {
	f.Notes = append(f.Notes, Note{file, fmt.Sprintf(format, args...), hint})
}

// Text is a fact in words; From.Source is Unknown when it is not known.
type Text struct {
	Value string
	From  Origin
}

// Export is a symbol that modules may use.
type Export struct {
	CRC       uint32
	HasCRC    bool // false when the source does not tell, or the kernel has no MODVERSIONS
	GPL       bool // for modules with a GPL compatible license only
	HasGPL    bool // whether the source tells GPL and Namespace
	Namespace string
	Provider  string // "vmlinux", or a module's path without .ko
}

// Source is a kind of place that facts come from, the better the greater.
type Source uint8

// Sources, from guess to certainty.
const (
	Unknown     Source = iota
	FromRelease        // deduced from the release's number: vendors' kernels may differ
	FromModules        // what the modules of that release have in common
	FromMap            // System.map, or the names alone that an image has of its symbols
	FromSymvers        // Module.symvers
	FromConfig         // the configuration
	FromImage          // the kernel image itself
)

// String gives the word that reports use: none, version, modules, map, symvers, config, image.
func (s Source) String() string {
	return [...]string{"none", "version", "modules", "map", "symvers", "config", "image"}[s]
}

// An Origin is where a fact is from.
type Origin struct {
	Source Source
	File   string // the file's name; empty when there is none
	How    string // the way it was found, such as "table of pointers at 0x9a1c40"; may be empty
}

// String words it: "image vmlinux-6.12 (table of pointers at 0x9a1c40)".
func (o Origin) String() string {
	s := o.Source.String()
	if o.File != "" {
		s += " " + o.File
	}
	if o.How != "" {
		s += " (" + o.How + ")"
	}
	return s
}

// An Option is what is known of one option of the configuration.
type Option struct {
	Value string // as in [Config]: "y", "n", "m", a number or text; empty when unknown
	From  Origin
}

// Known tells whether anything is known of it.
func (o Option) Known() bool { return o.Value != "" }

// Yes tells whether the option is known to be built in.
func (o Option) Yes() bool { return o.Value == "y" }

// No tells whether the option is known to be off.
func (o Option) No() bool { return o.Value == "n" }

// Option tells what is known of an option, named without CONFIG_. What the image
// shows comes before the configuration. In a configuration that is known, what is
// not mentioned is off.
func (f *Facts) Option(name string) Option {
	if o, ok := f.options[name]; ok || f.Config == nil {
		return o
	}
	value, ok := f.Config[name]
	if !ok {
		value = "n"
	}
	return Option{value, f.ConfigFrom}
}

// Says tells whether the kernel has a message of the loader, one of [Messages];
// known is false when there is no image.
func (f *Facts) Says(message string) (says, known bool) {
	says, looked := f.messages[message]
	return says, looked
}
