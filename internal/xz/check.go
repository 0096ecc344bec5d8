package xz

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"sync"
)

// check is the id of the sum that follows each block. The format reserves
// sixteen; four are defined. xz(1) unpacks without looking at the sum when it
// does not know the id, libkmod's reader does the same, and so do we.
type check byte

const (
	checkCRC32  check = 1
	checkCRC64  check = 4
	checkSHA256 check = 10
)

// size of the sum in bytes: 0; then three ids each for 4, 8, 16, 32, 64.
func (c check) size() int64 {
	if c == 0 {
		return 0
	}
	return 4 << ((c - 1) / 3)
}

// crc64Table is made when it is first wanted, as it takes a while.
var crc64Table = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(crc64.ECMA) })

// hash computes the sum of what is not in memory at once; nil when there is
// none or its id has no meaning.
func (c check) hash() hash.Hash {
	switch c {
	case checkCRC32:
		return crc32.NewIEEE()
	case checkCRC64:
		return crc64.New(crc64Table())
	case checkSHA256:
		return sha256.New()
	}
	return nil
}

// isSum tells whether h has come to sum. CRCs are little-endian here, which is
// not how package hash appends them.
func isSum(h hash.Hash, sum []byte) bool {
	switch h := h.(type) {
	case hash.Hash32:
		return binary.LittleEndian.Uint32(sum) == h.Sum32()
	case hash.Hash64:
		return binary.LittleEndian.Uint64(sum) == h.Sum64()
	}
	return bytes.Equal(h.Sum(nil), sum)
}

// matches tells whether sum is the one of data. Ids that have no meaning match.
func (c check) matches(data, sum []byte) bool {
	switch c {
	case checkCRC32:
		return binary.LittleEndian.Uint32(sum) == crc32.ChecksumIEEE(data)
	case checkCRC64:
		return binary.LittleEndian.Uint64(sum) == crc64.Checksum(data, crc64Table())
	case checkSHA256:
		want := sha256.Sum256(data)
		return bytes.Equal(want[:], sum)
	}
	return true
}
