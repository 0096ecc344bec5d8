package xz

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// source is packed data. Every byte of the container is read through at.
type source []byte

// at returns the n bytes at off; what names them for the error.
func (s source) at(off, n int, what string) ([]byte, error) {
	if off < 0 || n < 0 || off > len(s) || n > len(s)-off {
		return nil, cutOff(len(s), what+" is missing")
	}
	return s[off : off+n : off+n], nil
}

const (
	headerMagic = "\xfd7zXZ\x00"
	headerSize  = 12
	footerMagic = "YZ"
	footerSize  = 12
)

// streamHeader reads what begins a stream.
//
//	FD '7zXZ' 00    magic
//	00, check       stream flags: 0, the id of the checks (upper half byte 0)
//	CRC32 of the two flag bytes
//
// All words of the container are little-endian.
func (s source) streamHeader(off int) (check, error) {
	b, err := s.at(off, headerSize, "stream header")
	if err != nil {
		return 0, err
	}
	if string(b[:6]) != headerMagic {
		return 0, damaged(off, "stream header has no xz magic")
	}
	if binary.LittleEndian.Uint32(b[8:]) != crc32.ChecksumIEEE(b[6:8]) {
		return 0, damaged(off+8, "stream header checksum does not match")
	}
	return streamFlags(b[6:8], off+6)
}

func streamFlags(b []byte, off int) (check, error) {
	if b[0] != 0 || b[1] > 15 {
		return 0, unsupported(off, "stream flags %#02x %#02x", b[0], b[1])
	}
	return check(b[1]), nil
}

// footer is what ends a stream.
//
//	CRC32 of the six bytes that follow
//	size of the index / 4 - 1, 32 bits
//	stream flags, as in the header
//	'YZ'
type footer struct {
	indexSize int64 // 4 bytes to 16 GiB
	check     check
}

func (s source) footer(off int) (footer, error) {
	b, err := s.at(off, footerSize, "stream footer")
	if err != nil {
		return footer{}, err
	}
	if string(b[10:]) != footerMagic {
		return footer{}, damaged(off+10, "stream footer has no magic")
	}
	if binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:10]) {
		return footer{}, damaged(off, "stream footer checksum does not match")
	}
	c, err := streamFlags(b[8:10], off+8)
	return footer{(int64(binary.LittleEndian.Uint32(b[4:])) + 1) * 4, c}, err
}

// blockHeader begins a block.
//
//	size/4 - 1          one byte, 1 to 255 (0 would begin the index)
//	flags               bits 0-1 number of filters - 1, 6 packed size is told,
//	                    7 unpacked size is told, others 0
//	packed size         a number each, when told
//	unpacked size
//	filters             each: id, size of the properties, properties
//	00...               up to size - 4
//	CRC32 of all before
type blockHeader struct {
	size     int   // of the header itself
	packed   int64 // of the LZMA2 data, -1 when not told
	unpacked int64 // -1 when not told
	dictSize uint32
}

func (s source) blockHeader(off int) (blockHeader, error) {
	b, err := s.at(off, 1, "block header")
	if err != nil {
		return blockHeader{}, err
	}
	size := (int(b[0]) + 1) * 4
	if b, err = s.at(off, size, "block header"); err != nil {
		return blockHeader{}, err
	}
	end := size - 4
	if binary.LittleEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[:end]) {
		return blockHeader{}, damaged(off+end, "block header checksum does not match")
	}
	h, rest, err := source(s[:off+end]).blockFields(off)
	if err != nil {
		return blockHeader{}, err
	}
	if !zero(s[rest : off+end]) {
		return blockHeader{}, unsupported(rest, "block header padding is not zero")
	}
	h.size = size
	return h, nil
}

// blockFields reads up to the padding and returns its offset. The source ends
// where the padding does.
func (s source) blockFields(off int) (h blockHeader, next int, err error) {
	flags := s[off+1]
	if flags&0x3c != 0 {
		return h, 0, unsupported(off+1, "block flags %#02x", flags)
	}
	h.packed, h.unpacked = -1, -1
	next = off + 2
	if flags&0x40 != 0 {
		if h.packed, next, err = s.number(next); err != nil {
			return h, 0, headerEnd(err)
		}
		if h.packed == 0 {
			return h, 0, damaged(next-1, "block tells a packed size of 0")
		}
	}
	if flags&0x80 != 0 {
		if h.unpacked, next, err = s.number(next); err != nil {
			return h, 0, headerEnd(err)
		}
	}
	h.dictSize, next, err = s.filters(next, int(flags&3)+1)
	return h, next, headerEnd(err)
}

// headerEnd rewords the end of a header that is there but too small.
func headerEnd(err error) error {
	if e, ok := err.(*FormatError); ok && e.Kind == ErrTruncated {
		return damaged(int(e.Offset), "block header is too small: %s", e.Text)
	}
	return err
}

// lzma2 is the id of the only filter that we know. Its property is one byte
// that tells the dictionary size: 2 or 3 shifted left by 11 and half the value,
// in the order 4 KiB, 6 KiB, 8 KiB, 12 KiB..., at last 4 GiB - 1 at 40.
const lzma2 = 0x21

func (s source) filters(off, count int) (dictSize uint32, next int, err error) {
	id, next, err := s.number(off)
	if err != nil {
		return 0, 0, err
	}
	if id != lzma2 {
		return 0, 0, unsupported(off, "filter %s", filterName(id))
	}
	if count != 1 {
		return 0, 0, unsupported(off, "filter LZMA2 is not the last of %d", count)
	}
	at := next
	b, err := s.at(next, 2, "LZMA2 property")
	if err != nil {
		return 0, 0, err
	}
	if b[0] != 1 || b[1] > 40 {
		return 0, 0, unsupported(at, "LZMA2 properties %#02x %#02x", b[0], b[1])
	}
	if b[1] == 40 {
		return 1<<32 - 1, next + 2, nil
	}
	return (2 | uint32(b[1]&1)) << (b[1]/2 + 11), next + 2, nil
}

func filterName(id int64) string {
	names := [...]string{3: "delta", "x86 BCJ", "PowerPC BCJ", "IA-64 BCJ", "ARM BCJ", "ARM Thumb BCJ",
		"SPARC BCJ", "ARM64 BCJ", "RISC-V BCJ"}
	if 3 <= id && id < int64(len(names)) {
		return names[id]
	}
	return fmt.Sprintf("%#x", id)
}

// number reads an integer of the container: 7 bits a byte, low ones first,
// bit 7 says that another byte follows; at most 9 bytes, no needless ones.
func (s source) number(off int) (v int64, next int, err error) {
	for i := range 9 {
		b, err := s.at(off+i, 1, "number")
		if err != nil {
			return 0, 0, err
		}
		v |= int64(b[0]&0x7f) << (7 * i)
		if b[0]&0x80 == 0 {
			if b[0] == 0 && i > 0 {
				return 0, 0, damaged(off, "number is longer than needed")
			}
			return v, off + i + 1, nil
		}
	}
	return 0, 0, damaged(off, "number is longer than 63 bits")
}

// padding skips the zero bytes that may follow a stream.
func (s source) padding(off int) (next int, err error) {
	for next = off; next < len(s) && s[next] == 0; {
		next++
	}
	if (next-off)%4 != 0 {
		return 0, damaged(off, "stream padding of %d bytes is not a multiple of 4", next-off)
	}
	return next, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// pad4 tells how many bytes are missing to a multiple of four.
func pad4(n int) int { return -n & 3 }
