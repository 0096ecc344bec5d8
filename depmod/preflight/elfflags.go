package preflight

import (
	"debug/elf"
	"strings"
)

// flagWords tells what differs in the flags of riscv objects (riscv-elf-psabi, file
// header): ": compressed instructions, float ABI double".
//
//	bit 0 compressed instructions, bits 1-2 float ABI, bit 3 RVE, bit 4 TSO
func flagWords(machine elf.Machine, have, want uint32) string {
	if machine != elf.EM_RISCV {
		return ""
	}
	differ := have ^ want
	var words []string
	for _, b := range []struct {
		bit  uint32
		word string
	}{{1, "compressed instructions"}, {8, "RVE"}, {16, "TSO"}} {
		switch {
		case differ&b.bit == 0:
		case have&b.bit != 0:
			words = append(words, "with "+b.word)
		default:
			words = append(words, "without "+b.word)
		}
	}
	if differ&6 != 0 {
		words = append(words, "float ABI "+[...]string{"soft", "single", "double", "quad"}[have>>1&3])
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, ", ")
}
