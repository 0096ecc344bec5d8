package closure_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

func Example() {
	root := fstest.MapFS{}
	for name, text := range map[string]string{
		"ext4.ko": "modinfo alias=fs-ext4\nneed jbd2_start",
		"jbd2.ko": "export jbd2_start\nmodinfo softdep=pre: crypto-crc32c",
		"crc.ko":  "modinfo alias=crypto-crc32c",
		"vfat.ko": "modinfo alias=fs-vfat",
	} {
		data, err := kotest.File(name, text)
		if err != nil {
			log.Fatal(err)
		}
		root["lib/modules/6.12.0/kernel/"+name] = &fstest.MapFile{Data: data}
	}

	tree, err := depmod.Scan(context.Background(), root, "lib/modules/6.12.0", depmod.Options{})
	if err != nil {
		log.Fatal(err)
	}
	config, _, err := closure.ReadConfig(root, closure.ConfigPaths)
	if err != nil {
		log.Fatal(err)
	}
	catalog, err := closure.New(tree, config)
	if err != nil {
		log.Fatal(err)
	}
	set, err := catalog.Resolve([]closure.Choice{{Text: "fs-ext4"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range set.Members {
		fmt.Println(m.Module.Path, m.Why)
	}
	// Output:
	// kernel/crc.ko [jbd2 has softdep pre: crypto-crc32c]
	// kernel/jbd2.ko [ext4 needs jbd2_start]
	// kernel/ext4.ko [chosen by fs-ext4]
}
