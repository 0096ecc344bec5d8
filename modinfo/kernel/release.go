package kernel

import (
	"debug/elf"
	"fmt"
	"strconv"
	"strings"
)

// mainlineSteps are the relocations that riscv's loader learned, by release.
// (arch/riscv/kernel/module.c; 6.7 rewrote the table, with entries that only refuse.)
var mainlineSteps = []struct {
	major, minor int
	types        []uint32
}{
	{4, 15, []uint32{2, 16, 17, 19, 23, 24, 25, 51}},
	{4, 17, []uint32{1, 18, 20, 26, 27, 28, 35, 39, 43, 44, 45}},
	{5, 9, []uint32{36, 40}},
	{6, 3, []uint32{34, 38}},
	{6, 7, []uint32{3, 4, 5, 6, 7, 8, 9, 10, 11, 21, 22, 29, 30, 31, 32, 33, 37, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61}},
}

// mainlineRelocations gives the types that a mainline kernel of a release has a
// handler for; nil when that is not known.
func mainlineRelocations(machine elf.Machine, release string) (Origin, map[uint32]bool) {
	major, minor, ok := parseRelease(release)
	if machine != elf.EM_RISCV || !ok {
		return Origin{}, nil
	}
	var types map[uint32]bool
	for _, step := range mainlineSteps {
		if major < step.major || major == step.major && minor < step.minor {
			break
		}
		if types == nil {
			types = make(map[uint32]bool)
		}
		for _, t := range step.types {
			types[t] = true
		}
	}
	return Origin{Source: FromRelease, How: fmt.Sprintf("mainline %d.%d", major, minor)}, types
}

// parseRelease reads the first two numbers of "6.12.107+deb13-riscv64".
func parseRelease(s string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(s, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(rest)
	return major, minor, err1 == nil && err2 == nil && major >= 0
}

// configMachine tells the machine that a configuration is for; 0 when it does not say.
func configMachine(c Config) elf.Machine {
	switch {
	case c["RISCV"] == "y":
		return elf.EM_RISCV
	case c["ARM64"] == "y":
		return elf.EM_AARCH64
	case c["X86_64"] == "y":
		return elf.EM_X86_64
	case c["LOONGARCH"] == "y":
		return elf.EM_LOONGARCH
	}
	return 0
}
