package kernel

import "bytes"

// BTF is the kernel's description of its own types (DEBUG_INFO_BTF; include/uapi/linux/btf.h):
//
//	header  0 magic eb9f, 2 version 1, 3 flags, 4 length of the header, 8 offset and
//	        12 length of the types, 16 offset and 20 length of the strings, both from
//	        the end of the header
//	type    0 name, 4 members (bits 0-15) and kind (24-28), 8 size or type; what
//	        follows depends on the kind
const (
	btfHeader = 24
	btfType   = 12
	btfStruct = 4

	// maxBTF is how many places that look like one are tried: each may take as long
	// as the kernel is large.
	maxBTF = 16
)

var btfMagic = []byte{0x9f, 0xeb, 1, 0, btfHeader, 0, 0, 0}

// btfFollows is what follows a type of each kind: so many bytes, and so many for
// each of its members.
var btfFollows = [...]struct{ fixed, each uint64 }{
	1: {fixed: 4}, 3: {fixed: 12}, 4: {each: 12}, 5: {each: 12}, 6: {each: 8}, 13: {each: 8},
	14: {fixed: 4}, 15: {each: 12}, 17: {fixed: 4}, 19: {each: 12},
}

// structSize finds the size of a struct in the types of a kernel; 0 when it has none.
func structSize(data []byte, name string) uint64 {
	from := 0
	for range maxBTF {
		i := bytes.Index(data[from:], btfMagic)
		if i < 0 {
			break
		}
		from += i
		if size := btfStructSize(data[from:], name); size != 0 {
			return size
		}
		from++
	}
	return 0
}

func btfStructSize(data []byte, name string) uint64 {
	h := bytesAt(data, 0, btfHeader)
	if h == nil {
		return 0
	}
	types := bytesAt(data, btfHeader+uint64(le.Uint32(h[8:])), uint64(le.Uint32(h[12:])))
	names := bytesAt(data, btfHeader+uint64(le.Uint32(h[16:])), uint64(le.Uint32(h[20:])))
	for len(types) >= btfType {
		info := le.Uint32(types[4:])
		kind := info >> 24 & 31
		if kind == btfStruct && stringIs(names, le.Uint32(types), name) {
			return uint64(le.Uint32(types[8:]))
		}
		size := uint64(btfType)
		if int(kind) < len(btfFollows) {
			size += btfFollows[kind].fixed + uint64(info&0xffff)*btfFollows[kind].each
		}
		types = types[min(size, uint64(len(types))):]
	}
	return 0
}

// stringIs tells whether the string at an offset of a table is s.
func stringIs(table []byte, off uint32, s string) bool {
	b := bytesAt(table, uint64(off), uint64(len(s))+1)
	return b != nil && string(b[:len(s)]) == s && b[len(s)] == 0
}
