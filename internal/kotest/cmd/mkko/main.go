// Mkko makes the modules of a test tree from their text descriptions:
//
//	mkko SOURCE TARGET
//
// writes TARGET/…/X.ko for each SOURCE/…/X.ko.txt.
package main

import (
	"fmt"
	"os"

	"github.com/kstage/kstage/internal/kotest"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mkko SOURCE TARGET")
		os.Exit(2)
	}
	if err := kotest.Generate(os.Args[2], os.DirFS(os.Args[1])); err != nil {
		fmt.Fprintln(os.Stderr, "mkko:", err)
		os.Exit(1)
	}
}
