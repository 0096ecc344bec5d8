package index_test

import (
	"bytes"
	"fmt"

	"github.com/kstage/kstage/depmod/index"
)

func ExampleBuilder() {
	var b index.Builder
	for i, module := range []string{"virtio_net", "virtio_blk"} {
		alias, err := index.Normalize(fmt.Sprintf("virtio:d0000000%dv*", i+1))
		if err == nil {
			err = b.Add(alias, module, uint32(i))
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	var file bytes.Buffer
	if _, err := b.WriteTo(&file); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes, %x…\n", file.Len(), file.Bytes()[:8])
	// Output: 87 bytes, b007f45700020001…
}

func ExampleIndex_Match() {
	var b index.Builder
	b.Add("virtio:d00000001v*", "virtio_net", 1)
	b.Add("virtio:d*v00001AF4", "legacy_net", 0)
	var file bytes.Buffer
	b.WriteTo(&file)

	ix, err := index.Open(file.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range ix.Match("virtio:d00000001v00001AF4") {
		fmt.Println(v.Text)
	}
	// Output:
	// legacy_net
	// virtio_net
}

func ExampleIndex_Lookup() {
	var b index.Builder
	b.Add("symbol:virtio_reset_device", "virtio", 3)
	var file bytes.Buffer
	b.WriteTo(&file)

	ix, err := index.Open(file.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ix.Lookup("symbol:virtio_reset_device"), ix.Lookup("symbol:printk"))
	// Output: [{virtio 3}] []
}
