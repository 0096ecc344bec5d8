package kotest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Gzip compresses, without name and time.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(b) // a bytes.Buffer takes all
	w.Close()
	return out.Bytes()
}

// Zstd compresses into one frame.
func Zstd(b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // the options are constants
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// XZ writes a valid .xz stream of the given blocks without making them
// smaller: stored LZMA2 chunks, CRC32 checks. Streams may be joined. No
// blocks make an empty stream.
//
//	FD '7zXZ' 00, flags 00 01, crc32(flags)                     stream header
//	block header, chunks, padding to 4, crc32(content)          each block
//	00, count, { unpadded size, content size }..., padding, crc32   index
//	crc32(size, flags), index size/4-1, flags, 'YZ'             stream footer
//
// All words are little-endian, counts and sizes are 7 bits a byte, low first.
func XZ(blocks ...[]byte) []byte {
	flags := []byte{0, 1} // check 1 is CRC32
	out := append([]byte("\xFD7zXZ\x00"), flags...)
	out = sum32(out, flags)

	index := binary.AppendUvarint([]byte{0}, uint64(len(blocks)))
	for _, b := range blocks {
		start := len(out)
		out = append(out, xzBlockHeader()...)
		out = append(out, lzma2Stored(b)...)
		unpadded := len(out) - start + 4 // with the check
		out = sum32(pad(out, 4), b)      // all before this block is a multiple of 4
		index = binary.AppendUvarint(index, uint64(unpadded))
		index = binary.AppendUvarint(index, uint64(len(b)))
	}
	index = pad(index, 4)
	out = append(out, index...)
	out = sum32(out, index)

	footer := binary.LittleEndian.AppendUint32(nil, uint32((len(index)+4)/4-1))
	footer = append(footer, flags...)
	out = sum32(out, footer)
	out = append(out, footer...)
	return append(out, "YZ"...)
}

func sum32(out, data []byte) []byte {
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
}

// xzBlockHeader tells of one filter, LZMA2 (0x21) with one byte of properties:
// dictionary size code 8, 64 KiB.
//
//	size/4-1, flags 0 (one filter, no sizes), 21, 01, 08, padding, crc32
func xzBlockHeader() []byte {
	h := []byte{2, 0, 0x21, 1, 8, 0, 0, 0}
	return sum32(h, h)
}

// lzma2Stored makes uncompressed chunks of at most 64 KiB:
//
//	01 (the first: reset the dictionary) or 02, BE16 size-1, bytes
//	00 ends
func lzma2Stored(b []byte) []byte {
	var out []byte
	control := byte(1)
	for len(b) > 0 {
		n := min(len(b), 1<<16)
		out = append(out, control)
		out = binary.BigEndian.AppendUint16(out, uint16(n-1))
		out = append(out, b[:n]...)
		b = b[n:]
		control = 2
	}
	return append(out, 0)
}
