package uboot

import "encoding/binary"

// A flattened device tree (devicetree specification 0.4, chapter 5), as written
// here. All numbers are big endian.
//
//	 0  magic              d00dfeed
//	 4  totalsize          bytes of the whole
//	 8  off_dt_struct
//	12  off_dt_strings
//	16  off_mem_rsvmap
//	20  version            17
//	24  last_comp_version  16
//	28  boot_cpuid_phys    0
//	32  size_dt_strings
//	36  size_dt_struct
//	40  an empty list of reserved memory: 16 zero bytes
//	56  the struct block: a row of tokens of 4 bytes
//	      1  a node begins: its name, a zero byte, filled up to 4 bytes
//	      2  it ends
//	      3  a property: length, offset of its name in the strings block,
//	         value, filled up to 4 bytes
//	      4  nothing
//	      9  the end
//	    the strings block: names of properties, each with a zero byte
const (
	fdtMagic   = 0xd00dfeed
	fdtHead    = 40
	fdtStruct  = fdtHead + 16
	fdtVersion = 17
	fdtCompat  = 16

	tokenNode    = 1
	tokenNodeEnd = 2
	tokenProp    = 3
	tokenNop     = 4
	tokenEnd     = 9
)

// dataAlign is what the data of the images in a tree is aligned to.
//
// U-Boot hands a device tree on from where it lies when fdt_high says so, as in
// qemu; then the kernel wants it on 8 bytes and is silent otherwise. The kernel
// frees the memory of a ramdisk in whole pages, so none may hold a part of the
// device tree, which it goes on reading.
const dataAlign = 4096

// A blob is a flattened device tree in the making. Large values are not copied
// into it: they are pieces of their own.
type blob struct {
	pieces []piece
	size   int64 // of the pieces, which begin with the struct block
	names  []byte
	nameAt map[string]int
}

// A piece is either bytes or the content of an image.
type piece struct {
	bytes []byte
	part  *part
}

func newBlob() *blob { return &blob{nameAt: make(map[string]int)} }

func (b *blob) add(p []byte) {
	b.pieces = append(b.pieces, piece{bytes: p})
	b.size += int64(len(p))
}

func (b *blob) words(w ...uint32) {
	var p []byte
	for _, v := range w {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	b.add(p)
}

func (b *blob) fill() { b.add(make([]byte, -b.size&3)) }

func (b *blob) begin(name string) {
	b.words(tokenNode)
	b.add(append([]byte(name), 0))
	b.fill()
}

func (b *blob) end() { b.words(tokenNodeEnd) }

// name returns the offset of a property's name in the strings block.
func (b *blob) name(s string) uint32 {
	at, ok := b.nameAt[s]
	if !ok {
		at = len(b.names)
		b.nameAt[s] = at
		b.names = append(append(b.names, s...), 0)
	}
	return uint32(at)
}

func (b *blob) prop(name string, value []byte) {
	b.words(tokenProp, uint32(len(value)), b.name(name))
	b.add(value)
	b.fill()
}

func (b *blob) text(name, value string) { b.prop(name, append([]byte(value), 0)) }

func (b *blob) number(name string, v uint32) { b.prop(name, binary.BigEndian.AppendUint32(nil, v)) }

// data adds the content of an image as a property, aligned.
func (b *blob) data(name string, p *part) {
	for (fdtStruct+b.size+12)%dataAlign != 0 {
		b.words(tokenNop)
	}
	b.words(tokenProp, uint32(p.data.Size()), b.name(name))
	b.pieces = append(b.pieces, piece{part: p})
	b.size += p.data.Size()
	b.fill()
}

// finish ends the struct block and returns header and size of the whole.
func (b *blob) finish() (head []byte, total int64) {
	b.words(tokenEnd)
	strings := fdtStruct + b.size
	total = strings + int64(len(b.names))
	for _, v := range [...]uint32{
		fdtMagic, uint32(total), fdtStruct, uint32(strings), fdtHead,
		fdtVersion, fdtCompat, 0, uint32(len(b.names)), uint32(b.size),
	} {
		head = binary.BigEndian.AppendUint32(head, v)
	}
	return append(head, make([]byte, fdtStruct-fdtHead)...), total
}
