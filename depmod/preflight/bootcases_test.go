//go:build unix

package preflight

import (
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/internal/kotest"
)

func allBootCases() []bootCase {
	cases := []bootCase{{name: "plain"}}
	cases = append(cases, relocCases()...)
	return cases
}

func blacklistCases() []bootCase {
	return []bootCase{{name: "plain"}, {name: "black_one"}, {name: "black_two"}, {name: "black_three"}, {name: "black"}, {name: "black_one1"}}
}

func signatureCases() []bootCase { return []bootCase{{name: "plain"}} }

// relocCases tries each type against a function of the kernel, a place of the module,
// and a number.
func relocCases() (cases []bootCase) {
	types := []uint32{191, 192, 255, 256, 1 << 31, 1<<32 - 1}
	for t := range uint32(67) {
		types = append(types, t)
	}
	for _, t := range types {
		for _, symbol := range []string{"_printk", ".text", "number", ""} {
			if t == 60 && (symbol == "_printk" || symbol == ".text") {
				continue // see crashCases
			}
			cases = append(cases, bootCase{name: fmt.Sprintf("reloc%d_%s", t, map[string]string{"_printk": "kernel", ".text": "own", "number": "number", "": "none"}[symbol]),
				build: func(s *moduleSpec) {
					s.Symbols = append(s.Symbols, kotest.Symbol{Kind: kotest.Define, Name: "number", Section: "*", Value: 0x12345678, Bind: 1})
					s.reloc(uint32(elf.R_RISCV_RELAX), ".text", 0)
					s.reloc(t, symbol, 0)
				}})
		}
	}
	return cases
}
