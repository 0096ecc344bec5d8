package preflight

// A Rule is the name of a kind of finding: "KS010".
type Rule string

// The rules, in the kernel's order as far as there is one.
const (
	ELFHeader        Rule = "KS001" // damaged, or no relocatable object
	WrongMachine     Rule = "KS002"
	Stripped         Rule = "KS003"
	RelocUnsupported Rule = "KS010" // a relocation type for which the loader has no handler
	RelocAlign       Rule = "KS011"
	RelocTLSDynamic  Rule = "KS012"
	RelocGOT         Rule = "KS013"
	RelocMedlow      Rule = "KS014"
	RelocRange       Rule = "KS015"
	WeakUnresolved   Rule = "KS016"
	Vermagic         Rule = "KS020"
	NoVermagic       Rule = "KS021"
	ThisModuleSize   Rule = "KS022"
	UnknownSymbol    Rule = "KS030"
	DepNotStaged     Rule = "KS031"
	GPLOnly          Rule = "KS032"
	Namespace        Rule = "KS033"
	CRC              Rule = "KS034"
	DuplicateExport  Rule = "KS035"
	LegacyGPLSection Rule = "KS036"
	Unsigned         Rule = "KS040"
	SignatureBroken  Rule = "KS041"
	Untrusted        Rule = "KS042"
	Compression      Rule = "KS050"
	Firmware         Rule = "KS060"
	BTF              Rule = "KS061"
	Livepatch        Rule = "KS070"
	Blacklisted      Rule = "KS071"
	Taint            Rule = "KS080"
	ELFFlags         Rule = "KS081"
	Params           Rule = "KS082"
)
