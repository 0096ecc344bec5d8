package initrd

import (
	"fmt"
	"io/fs"
)

// An archive in the newc format ("new ASCII", cpio(5)) is a row of entries:
//
//	  0  magic      6 bytes: 070701, or 070702 when check is in use
//	  6  ino        from here on 8 hex digits each, most significant first
//	 14  mode       type and permissions as in stat(2)
//	 22  uid
//	 30  gid
//	 38  nlink      names of this file; 2 or more makes readers link them
//	 46  mtime      seconds since 1970
//	 54  filesize   bytes of data; 0 on all names of a linked file but one
//	 62  devmajor   with devminor and ino: which file this is
//	 70  devminor
//	 78  rdevmajor  which device a device node stands for
//	 86  rdevminor
//	 94  namesize   bytes of the name with its zero byte
//	102  check      070702: sum of the data bytes; 070701: not looked at
//	110  name, a zero byte, and zero bytes up to a multiple of 4
//	     data, and zero bytes up to a multiple of 4
//
// The data of a symbolic link is its target. Multiples count from the start of
// the archive. An entry named TRAILER!!! without data ends it.
const (
	headerLen = 110
	fieldLen  = 8
	magicLen  = 6
	magicNewc = "070701"
	magicCRC  = "070702"
	rdevAt    = 78
	maxName   = maxPath + 1
	trailer   = "TRAILER!!!"
)

// The type and special bits of the mode field: S_IFMT and so on.
const (
	typeMask    = 0o170000
	typeFIFO    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeSymlink = 0o120000
	typeSocket  = 0o140000

	bitSetuid = 0o4000
	bitSetgid = 0o2000
	bitSticky = 0o1000
)

// header is one header as the format has it. Two headers are equal when their
// bytes are, but for the case of the digits and padding of the name.
type header struct {
	name                 string
	zeros                uint32 // bytes of the name field behind the name's own zero byte
	ino, mode            uint32
	uid, gid             uint32
	nlink, mtime, size   uint32
	devMajor, devMinor   uint32
	rdevMajor, rdevMinor uint32
	crc                  bool // magic 070702
	check                uint32
}

// lastHeader returns the header that ends an archive.
func lastHeader() header { return header{name: trailer, nlink: 1} }

// padding returns how many bytes n is short of a multiple of 4.
func padding(n int64) int64 { return -n & 3 }

// nameSize returns the number in the header's field.
func (h *header) nameSize() uint32 { return uint32(len(h.name)) + 1 + h.zeros }

// headSpace returns the bytes the entry takes up before its data.
func (h *header) headSpace() int64 {
	n := headerLen + int64(h.nameSize())
	return n + padding(n)
}

// space returns the bytes the entry takes up in an archive.
func (h *header) space() int64 {
	data := int64(h.size)
	return h.headSpace() + data + padding(data)
}

// parseHeader reads the fixed part. The name, of the returned length, follows.
func parseHeader(b *[headerLen]byte) (h header, nameSize uint32, err error) {
	switch magic := string(b[:magicLen]); magic {
	case magicNewc:
	case magicCRC:
		h.crc = true
	default:
		return header{}, 0, fmt.Errorf("bad magic %q", magic)
	}
	fields := [...]*uint32{
		&h.ino, &h.mode, &h.uid, &h.gid, &h.nlink, &h.mtime, &h.size,
		&h.devMajor, &h.devMinor, &h.rdevMajor, &h.rdevMinor, &nameSize, &h.check,
	}
	for i, f := range fields {
		at := magicLen + i*fieldLen
		v, ok := hex32(b[at : at+fieldLen])
		if !ok {
			return header{}, 0, fmt.Errorf("field %q is not a hexadecimal number", b[at:at+fieldLen])
		}
		*f = v
	}
	return h, nameSize, nil
}

// hex32 reads 8 hex digits of either case.
func hex32(digits []byte) (v uint32, ok bool) {
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint32(c-'a'+10)
		case 'A' <= c && c <= 'F':
			v = v<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// putHex32 writes v as 8 hex digits.
func putHex32(digits []byte, v uint32) {
	for i := fieldLen - 1; i >= 0; i-- {
		digits[i] = "0123456789ABCDEF"[v&15]
		v >>= 4
	}
}

// unixMode turns a mode that Entry.check let pass into the format's.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	switch m.Type() {
	case fs.ModeDir:
		mode |= typeDir
	case fs.ModeSymlink:
		return typeSymlink | 0o777 // as Linux shows them; macOS does not
	case fs.ModeNamedPipe:
		mode |= typeFIFO
	case fs.ModeDevice:
		mode |= typeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		mode |= typeChar
	default:
		mode |= typeRegular
	}
	if m&fs.ModeSetuid != 0 {
		mode |= bitSetuid
	}
	if m&fs.ModeSetgid != 0 {
		mode |= bitSetgid
	}
	if m&fs.ModeSticky != 0 {
		mode |= bitSticky
	}
	return mode
}
