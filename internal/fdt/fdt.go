// Package fdt reads and writes flattened device trees (devicetree
// specification 0.4, chapter 5): the .dtb files of boards, and U-Boot's FIT
// images, which are trees too. All numbers are big endian:
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
//	    the list of reserved memory: pairs of 8 bytes, the last one zero
//	    the struct block: a row of tokens of 4 bytes
//	      1  a node begins: its name, a zero byte, filled up to 4 bytes
//	      2  it ends
//	      3  a property: length, offset of its name in the strings block,
//	         value, filled up to 4 bytes
//	      4  nothing
//	      9  the end
//	    the strings block: names of properties, each with a zero byte
package fdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic is the first word of a tree.
const Magic = 0xd00dfeed

const (
	headSize   = 40
	version    = 17
	compatible = 16

	tokenNode    = 1
	tokenNodeEnd = 2
	tokenProp    = 3
	tokenNop     = 4
	tokenEnd     = 9
)

// Limits on trees that are read. FITs with hundreds of device trees, and the
// trees of the largest boards with all their symbols, stay far below.
const (
	maxTokens = 1 << 20
	maxDepth  = 64       // the kernel's FDT_MAX_DEPTH
	maxName   = 255      // bytes of a node's or property's name
	maxNames  = 64 << 10 // bytes of the strings block
)

// A Tree is one that can be walked through. No value is read before it is asked
// for, so that values may be of any size.
type Tree struct {
	Size int64 // bytes of the whole

	r          io.ReaderAt
	start, end int64 // of the struct block
	names      string
}

// A Node is one node, for as long as it is visited.
type Node struct {
	Path       []string // names from the root, which has none
	Properties []Property
}

// A Property is a name and where the value lies.
type Property struct {
	Name      string
	Off, Size int64 // in the tree
}

// New reads the header and the names of the properties. The tree begins at
// offset 0 of r, which may hold more than it.
func New(r io.ReaderAt) (*Tree, error) {
	var p [headSize]byte
	n, err := r.ReadAt(p[:], 0)
	if n >= 4 && binary.BigEndian.Uint32(p[:]) != Magic {
		return nil, fmt.Errorf("offset 0: there is no device tree: it begins with %x, not %x", p[:4], uint32(Magic))
	}
	if n < len(p) {
		return nil, fmt.Errorf("header: %w", cutOff(err))
	}
	var head [headSize / 4]uint32
	for i := range head {
		head[i] = binary.BigEndian.Uint32(p[4*i:])
	}
	if v, c := head[5], head[6]; v < version || c > version {
		return nil, fmt.Errorf("the tree has version %d (compatible with %d), which is not known", v, c)
	}
	t := &Tree{r: r, Size: int64(head[1]), start: int64(head[2]), end: int64(head[2]) + int64(head[9])}
	if t.start < headSize || t.start%4 != 0 || t.end > t.Size {
		return nil, fmt.Errorf("the struct block, bytes %d to %d, does not lie in the tree of %d bytes", t.start, t.end, t.Size)
	}
	if err := t.readNames(int64(head[3]), int64(head[8])); err != nil {
		return nil, err
	}
	return t, nil
}

// readNames reads the strings block, and the tree's last byte: that it is there.
func (t *Tree) readNames(off, size int64) error {
	if off < headSize || off+size > t.Size {
		return fmt.Errorf("the strings block, bytes %d to %d, does not lie in the tree of %d bytes", off, off+size, t.Size)
	}
	if size > maxNames {
		return fmt.Errorf("the strings block has %d bytes, more than %d", size, maxNames)
	}
	var last [1]byte
	if n, err := t.r.ReadAt(last[:], t.Size-1); n < len(last) {
		return fmt.Errorf("the last of %d bytes: %w", t.Size, cutOff(err))
	}
	names := make([]byte, size)
	if n, err := t.r.ReadAt(names, off); n < len(names) {
		return fmt.Errorf("strings at offset %d: %w", off, cutOff(err))
	}
	t.names = string(names)
	return nil
}

// ErrCutOff is the end of the input where more must come.
var ErrCutOff = errors.New("the device tree is cut off")

// cutOff words the end of the input where more must come.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCutOff
	}
	return err
}

// MaxValue is how many bytes a value may have that is read.
const MaxValue = 1024

// Bytes reads a value of at most [MaxValue] bytes.
func (t *Tree) Bytes(p Property) ([]byte, error) {
	if p.Size > MaxValue {
		return nil, fmt.Errorf("offset %d: %s has %d bytes, more than %d", p.Off, p.Name, p.Size, MaxValue)
	}
	b := make([]byte, p.Size)
	if n, err := t.r.ReadAt(b, p.Off); n < len(b) {
		return nil, fmt.Errorf("offset %d: %s: %w", p.Off, p.Name, cutOff(err))
	}
	return b, nil
}

// Strings reads a value that is a list of strings, each with a zero byte at its
// end.
func (t *Tree) Strings(p Property) ([]string, error) {
	b, err := t.Bytes(p)
	if err != nil {
		return nil, err
	}
	var list []string
	for len(b) > 0 {
		s, rest, ended := bytes.Cut(b, []byte{0})
		if !ended {
			return nil, fmt.Errorf("offset %d: %s does not end in a zero byte", p.Off, p.Name)
		}
		list, b = append(list, string(s)), rest
	}
	return list, nil
}

// Number reads a value that is one cell.
func (t *Tree) Number(p Property) (uint32, error) {
	b, err := t.Bytes(p)
	if err == nil && len(b) != 4 {
		err = fmt.Errorf("offset %d: %s has %d bytes, not 4", p.Off, p.Name, len(b))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}
