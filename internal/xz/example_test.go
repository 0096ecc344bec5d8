package xz_test

import (
	"bytes"
	"fmt"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/internal/xz"
)

func ExampleDecoder_DecodeAll() {
	packed := kotest.XZ([]byte("two blocks, "), []byte("one file"))
	var d xz.Decoder // for many files
	plain, err := d.DecodeAll(nil, packed, 1<<20)
	fmt.Printf("%s, %v\n", plain, err)
	_, err = d.DecodeAll(nil, packed[:50], 1<<20)
	fmt.Println(err)
	// Output:
	// two blocks, one file, <nil>
	// xz data is cut off: stream footer is missing at byte 50
}

func ExampleReader() {
	packed := kotest.XZ([]byte("two blocks, "), []byte("one file"))
	r, err := xz.NewReader(bytes.NewReader(packed), int64(len(packed)), 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := make([]byte, 4)
	_, err = r.ReadAt(p, 16) // unpacks the second block only
	fmt.Printf("%s, %v\n", p, err)
	// Output:
	// file, <nil>
}
