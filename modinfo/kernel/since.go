package kernel

import (
	"debug/elf"
	"fmt"
	"slices"
)

// mainlineCommits brought the types that modules were refused for.
var mainlineCommits = map[string]string{"5.9": "11a54f422b0d", "6.3": "1bc400ffb52b", "6.7": "8fd6c5142395"}

// RelocatesSince gives the first mainline release whose loader has a handler for all
// of the types, and the commit that brought the last of them, where it is known. The
// release is empty when no kernel has, or when the machine's history is not known.
func RelocatesSince(machine elf.Machine, types []uint32) (release, commit string) {
	if machine != elf.EM_RISCV {
		return "", ""
	}
	last := -1
	for _, t := range types {
		at := slices.IndexFunc(mainlineSteps, func(s mainlineStep) bool { return slices.Contains(s.types, t) })
		if at < 0 {
			return "", ""
		}
		last = max(last, at)
	}
	if last < 0 {
		return "", ""
	}
	release = fmt.Sprintf("%d.%d", mainlineSteps[last].major, mainlineSteps[last].minor)
	return release, mainlineCommits[release]
}
