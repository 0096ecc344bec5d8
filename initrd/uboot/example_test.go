package uboot_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kstage/kstage/initrd/uboot"
)

// An image is wrapped, and taken out again with its checksums compared.
func Example() {
	archive := strings.NewReader("the bytes of an initrd")
	var image bytes.Buffer
	fit := uboot.FIT{Name: "initrd 6.12", Ramdisk: io.NewSectionReader(archive, 0, archive.Size())}
	if err := fit.Write(context.Background(), &image); err != nil {
		fmt.Println(err)
		return
	}
	ramdisk, err := uboot.Open(bytes.NewReader(image.Bytes()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v, %s, %d bytes at %d\n", ramdisk.Format, ramdisk.Name, ramdisk.Size, ramdisk.Offset)
	if _, err := io.Copy(os.Stdout, ramdisk); err != nil {
		fmt.Println(err)
	}
	// Output:
	// fit, initrd 6.12, 22 bytes at 4096
	// the bytes of an initrd
}
