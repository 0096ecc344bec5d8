package kernel

import "bytes"

// maxKeysGap is how far behind the certificates their size may be. There is room
// for one more in between, SYSTEM_EXTRA_CERTIFICATE_SIZE, usually 4096 bytes.
const maxKeysGap = 64 << 10

// findKeys finds the certificates that a kernel was built with, DER, back to back
// (certs/system_certificates.S; the names of these places are often not in kallsyms):
//
//	certificates | zeros | size of them all, 8 bytes | zeros | size of those for modules, 8 bytes
//
// The last one came with 5.13. The list of revoked certificates has the same form
// without it. So what has it is preferred, else there must be only one list.
func findKeys(data []byte) (keys [][]byte, at uint64) {
	lists := 0
	for from := 0; ; {
		// A certificate of version 3: SEQUENCE { SEQUENCE { [0] INTEGER 2
		i := bytes.Index(data[from:], []byte{0xa0, 3, 2, 1, 2})
		if i < 0 {
			break
		}
		start := uint64(max(from+i-8, 0))
		from += i + 5
		list, end := certificates(data, start)
		size, behind := nextNumber(data, end, maxKeysGap)
		if len(list) == 0 || size != end-start {
			continue
		}
		from = int(end)
		if own, _ := nextNumber(data, behind, 256); isBoundary(list, own) {
			return list, start
		}
		keys, at = list, start
		lists++
	}
	if lists != 1 {
		return nil, 0
	}
	return keys, at
}

// certificates takes DER sequences of more than 255 bytes one after the other, as
// the kernel does (certs/common.c).
func certificates(data []byte, at uint64) (list [][]byte, end uint64) {
	for {
		h := bytesAt(data, at, 4)
		if h == nil || h[0] != 0x30 || h[1] != 0x82 {
			return list, at
		}
		c := bytesAt(data, at, 4+uint64(h[2])<<8+uint64(h[3]))
		if c == nil {
			return list, at
		}
		list = append(list, c)
		at += uint64(len(c))
	}
}

// nextNumber reads the first number of 8 bytes that is not 0, within limit bytes.
func nextNumber(data []byte, at, limit uint64) (n, behind uint64) {
	at = (at + 7) &^ 7
	for end := at + limit; at < end; at += 8 {
		b := bytesAt(data, at, 8)
		if b == nil {
			return 0, at
		}
		if n = le.Uint64(b); n != 0 {
			return n, at + 8
		}
	}
	return 0, at
}

func isBoundary(list [][]byte, n uint64) bool {
	sum := uint64(0)
	for _, c := range list {
		if sum += uint64(len(c)); sum == n {
			return true
		}
	}
	return false
}
