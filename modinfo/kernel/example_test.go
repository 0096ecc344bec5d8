package kernel_test

import (
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
