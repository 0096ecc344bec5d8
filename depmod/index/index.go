// Package index reads and writes the binary tries of modules.dep.bin,
// modules.alias.bin, modules.symbols.bin, modules.builtin.bin and
// modules.builtin.alias.bin, in which kmod and udev look modules up.
//
// An index maps keys to values with priorities, in 7-bit characters. A key may
// be a pattern; see [Index.Match]. The file, all words 32 bits, big-endian:
//
//	B007F457 magic
//	00020001 version; readers care for the upper half only
//	root     offset word of the root node
//	nodes    in any order; kmod writes parents first since version 34, children first before
//
// An offset word holds the place of a node in the file and tells what the node
// has:
//
//	31  30  29  28  27 … 0
//	 P   V   C   -  offset; 0 means no node
//
//	P  prefix, NUL                                the key goes on with these characters
//	C  first, last, (last-first+1) offset words   a child for each next character; first and last are one byte
//	V  count, count × { priority, value, NUL }    what the key has that ends here
//
// in this order, nothing aligned. The character that leads to a child is not
// repeated in the child's prefix. The root of an empty index is an empty node
// behind the header: B007F457 00020001 0000000C.
//
// There is no specification: the format is what kmod's depmod writes.
package index

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
)

const (
	magic      = 0xB007F457
	version    = 0x00020001
	headerSize = 12

	hasPrefix   = 1 << 31
	hasValues   = 1 << 30
	hasChildren = 1 << 29
	offsetMask  = 1<<28 - 1
)

// MaxKeyLen is the longest key, in bytes, that this package writes or reads.
// kmod cuts aliases at 4095, and no kernel has symbols of 1024.
const MaxKeyLen = 8192

// Value is one value of a key. A lower priority comes first.
type Value struct {
	Text     string
	Priority uint32
}

// Index is an index file in memory. It is read-only, and safe for use by
// several goroutines.
type Index struct {
	data string
	root uint32
}

// Open reads an index of either layout. It walks the whole of it once, so that
// nothing can fail later: all nodes lie inside the file, together they are no
// larger than it, so that none leads back to itself, and no key is longer than
// [MaxKeyLen].
func Open(data []byte) (*Index, error) {
	if len(data) < headerSize {
		return nil, fmt.Errorf("index: %d bytes are too few for a header", len(data))
	}
	if m := binary.BigEndian.Uint32(data); m != magic {
		return nil, fmt.Errorf("index: magic is %08x, not %08x", m, uint32(magic))
	}
	if v := binary.BigEndian.Uint32(data[4:]); v>>16 != version>>16 {
		return nil, fmt.Errorf("index: version %d.%d, known is %d", v>>16, v&0xffff, version>>16)
	}
	ix := &Index{data: string(data), root: binary.BigEndian.Uint32(data[8:])}
	c := checker{ix: ix, left: len(data) - headerSize}
	if err := c.check(ix.root, 0); err != nil {
		return nil, err
	}
	return ix, nil
}

// Lookup returns the values of exactly this key, lowest priority first.
func (ix *Index) Lookup(key string) []Value {
	word := ix.root
	for {
		n, err := ix.node(word)
		if err != nil {
			return nil
		}
		rest, ok := strings.CutPrefix(key, n.prefix)
		if !ok {
			return nil
		}
		if rest == "" {
			return n.appendValues(nil)
		}
		word, key = n.child(rest[0]), rest[1:]
	}
}

// All yields every key with each of its values, in byte order of the keys.
// Adding the pairs to a [Builder] backwards makes the same index again.
func (ix *Index) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		var key []byte
		var walk func(word uint32) bool
		walk = func(word uint32) bool {
			n, err := ix.node(word)
			if err != nil {
				return true
			}
			length := len(key)
			key = append(key, n.prefix...)
			if n.count > 0 {
				text := string(key)
				for _, v := range n.appendValues(nil) {
					if !yield(text, v) {
						return false
					}
				}
			}
			for c, word := range n.all() {
				key = append(key, c)
				if !walk(word) {
					return false
				}
				key = key[:len(key)-1]
			}
			key = key[:length]
			return true
		}
		walk(ix.root)
	}
}
