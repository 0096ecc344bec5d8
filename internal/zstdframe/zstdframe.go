// Package zstdframe measures a zstd frame without unpacking it: what its header says of
// its size is a claim, what its blocks can hold is a bound.
package zstdframe

// MostInBlock is what a compressed block unpacks to at most, in bytes.
const MostInBlock = 128 << 10

// Blocks walks over the blocks of a frame, which data begins with (RFC 8878, 3.1.1.2):
//
//	3 bytes, little-endian: bit 0 last block, bits 1-2 type, bits 3-23 size
//	type 0: size bytes as they are; 1: one byte, size times; 2: size bytes that
//	hold at most MostInBlock
//
// end is where they end and holds what they unpack to at most, both in bytes. Where data
// is cut off whole is false, and the block that is not whole counts for holds too.
func Blocks(data []byte) (end int, holds uint64, whole bool) {
	for len(data)-end >= 3 {
		b := data[end:]
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int(head >> 3)
		space, most := size, uint64(size)
		switch head >> 1 & 3 {
		case 1:
			space = 1
		case 2:
			most = MostInBlock
		}
		holds += most
		if space > len(b)-3 {
			return end, holds, false
		}
		end += 3 + space
		if head&1 != 0 {
			return end, holds, true
		}
	}
	return end, holds, false
}
