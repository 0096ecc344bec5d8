package xz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// source is packed data, a file or a piece of one. Every byte of the container
// is read through at.
type source []byte

// at returns the n bytes at off; what names them for the error.
func (s source) at(off, n int64, what string) (source, error) {
	if size := int64(len(s)); off < 0 || n < 0 || off > size || n > size-off {
		return nil, fail(ErrTruncated, size, "%s is missing", what)
	}
	return s[off : off+n : off+n], nil
}

// summed returns the bytes at off whose last four are the CRC32 of the rest.
func (s source) summed(off, n int64, what string) (source, error) {
	b, err := s.at(off, n, what)
	if err != nil {
		return nil, err
	}
	end := len(b) - 4
	if binary.LittleEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[:end]) {
		return nil, damaged(off, "checksum of the %s does not match", what)
	}
	return b[:end], nil
}

// padding checks that all bytes from off on are 0.
func (s source) padding(off int64, what string) error {
	if len(bytes.Trim(s[off:], "\x00")) > 0 {
		return damaged(off, "%s padding is not zero", what)
	}
	return nil
}

// number reads an integer of the container: 7 bits a byte, low ones first,
// bit 7 says that another byte follows; at most 9 bytes, none that is not
// needed.
func (s source) number(off int64) (v, next int64, err error) {
	for i := range int64(9) {
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
func (s source) streamHeader() (check, error) {
	if magic, err := s.at(0, int64(len(headerMagic)), "stream header"); err != nil {
		return 0, err
	} else if string(magic) != headerMagic {
		return 0, damaged(0, "stream header has no magic")
	}
	b, err := s[:min(len(s), headerSize)].summed(6, headerSize-6, "stream header")
	if err != nil {
		return 0, err
	}
	return streamFlags(b, 6)
}

func streamFlags(b []byte, off int64) (check, error) {
	if b[0] != 0 || b[1] > 15 {
		return 0, fail(ErrUnsupported, off, "stream flags %#02x %#02x", b[0], b[1])
	}
	return check(b[1]), nil
}

// footer ends a stream.
//
//	CRC32 of the six bytes that follow
//	size of the index / 4 - 1, 32 bits
//	stream flags, as in the header
//	'YZ'
func (s source) footer() (indexSize int64, c check, err error) {
	b, err := s.at(0, footerSize, "stream footer")
	if err != nil {
		return 0, 0, err
	}
	if string(b[10:]) != footerMagic {
		return 0, 0, fail(ErrTruncated, footerSize, "stream footer is missing")
	}
	if binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:10]) {
		return 0, 0, damaged(0, "checksum of the stream footer does not match")
	}
	c, err = streamFlags(b[8:], 8)
	return (int64(binary.LittleEndian.Uint32(b[4:])) + 1) * 4, c, err
}

// blockHeader begins a block.
//
//	size/4 - 1          one byte, not 0
//	flags               bits 0-1 number of filters - 1, 6 packed size is told,
//	                    7 unpacked size is told, others 0
//	packed size         a number each, when told
//	unpacked size
//	filters             each: id, size of the properties, properties
//	00...               up to size - 4
//	CRC32 of all before
type blockHeader struct {
	size     int64 // of the header itself
	packed   int64 // of the LZMA2 data, -1 when not told
	unpacked int64 // -1 when not told
	dictSize uint
}

// blockHeader reads the header that s begins with.
func (s source) blockHeader() (h blockHeader, err error) {
	b, err := s.at(0, 1, "block header")
	if err != nil {
		return h, err
	}
	if b[0] == 0 {
		return h, damaged(0, "block header begins with 0")
	}
	size := (int64(b[0]) + 1) * 4
	if b, err = s.summed(0, size, "block header"); err != nil {
		return h, err
	}
	if h, err = b.blockFields(); err != nil {
		return h, err
	}
	h.size = size
	return h, nil
}

func (s source) blockFields() (h blockHeader, err error) {
	flags, next := s[1], int64(2)
	if flags&0x3c != 0 {
		return h, fail(ErrUnsupported, 1, "block flags %#02x", flags)
	}
	h.packed, h.unpacked = -1, -1
	if flags&0x40 != 0 {
		if h.packed, next, err = s.number(next); err != nil {
			return h, err
		}
	}
	if flags&0x80 != 0 {
		if h.unpacked, next, err = s.number(next); err != nil {
			return h, err
		}
	}
	id, at, err := s.number(next)
	if err != nil {
		return h, err
	}
	if id != lzma2 {
		return h, fail(ErrUnsupported, next, "filter %s", filterName(id))
	}
	props, err := s.at(at, 2, "LZMA2 property")
	if err != nil {
		return h, err
	}
	if flags&3 != 0 || props[0] != 1 || props[1] > 40 {
		return h, fail(ErrUnsupported, at, "LZMA2 properties %#02x %#02x", props[0], props[1])
	}
	h.dictSize = dictSize(props[1])
	return h, s.padding(at+2, "block header")
}

// lzma2 is the id of the only filter that we know.
const lzma2 = 0x21

// dictSize is what the property of LZMA2 tells: 4 KiB, 6 KiB, 8 KiB, 12 KiB...,
// at last 4 GiB - 1.
func dictSize(prop byte) uint {
	if prop == 40 {
		return 1<<32 - 1
	}
	return (2 | uint(prop&1)) << (prop/2 + 11)
}

func filterName(id int64) string {
	names := [...]string{3: "delta", "x86 BCJ", "PowerPC BCJ", "IA-64 BCJ", "ARM BCJ", "ARM Thumb BCJ",
		"SPARC BCJ", "ARM64 BCJ", "RISC-V BCJ"}
	if 3 <= id && id < int64(len(names)) {
		return names[id]
	}
	return fmt.Sprintf("%#x", id)
}
