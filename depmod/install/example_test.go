package install_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// A module from outside the kernel goes into a root, packed so that the kernel can
// unpack it itself.
func ExampleTarget_Stage() {
	dir := exampleDir() // hello.ko, sub/world.ko
	defer os.RemoveAll(dir)
	root, err := os.MkdirTemp("", "root")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	target, err := install.OpenTarget(root, "lib/modules/6.12.0")
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()

	modules, _, err := install.ReadDir(os.DirFS(dir), "updates")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		report, err := target.Stage(context.Background(), modules, install.Options{Packing: new(modinfo.Zstd)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("written:", report.Written)
	}
	// Output:
	// written: [updates/hello.ko.zst updates/sub/world.ko.zst]
	// written: []
}

func exampleDir() string {
	dir, err := os.MkdirTemp("", "source")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"hello.ko", "sub/world.ko"} {
		module, err := kotest.Build("modinfo license=GPL")
		if err == nil {
			err = os.MkdirAll(dir+"/sub", 0o755)
		}
		if err == nil {
			err = os.WriteFile(dir+"/"+name, module, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	return dir
}
