package kernel_test

import (
	"debug/elf"
	"fmt"
	"log"
	"strings"

	"github.com/kstage/kstage/modinfo/kernel"
)

// Which compressions a kernel unpacks.
func ExampleParseConfig() {
	config, err := kernel.ParseConfig(strings.NewReader("CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\nCONFIG_LOCALVERSION=\"-board\"\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config["RD_GZIP"], config["RD_ZSTD"], config["LOCALVERSION"])
	// Output: y n -board
}

// Whether a kernel of which only the version and its Module.symvers are known can
// relocate unwind tables (R_RISCV_32_PCREL), and whether it has a symbol for a module
// that is not under the GPL.
func ExampleFacts() {
	var facts kernel.Facts
	facts.AddModules(elf.EM_RISCV, "6.1.192 SMP mod_unload modversions riscv", 0, "lib/modules/6.1.192")
	symvers := "0x8a1ad1ac\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x57900416\tgen_pool_create\tvmlinux\tEXPORT_SYMBOL_GPL\t\n"
	if err := facts.AddSymvers(strings.NewReader(symvers), "Module.symvers"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(facts.Relocations[57], "from", facts.RelocationsFrom)
	fmt.Println(facts.Exports["gen_pool_create"].GPL, "from", facts.ExportsFrom)
	fmt.Println(facts.Vermagic.Value)
	// Output:
	// false from version (mainline 6.1)
	// true from symvers Module.symvers
	// 6.1.192 SMP mod_unload modversions riscv
}
