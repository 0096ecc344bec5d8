package imagetest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"strconv"
)

func compress(method string, o map[string]string, data []byte) ([]byte, error) {
	switch method {
	case "gzip":
		return gzipped(o, data)
	case "zstd":
		return zstdFrame(o, data)
	case "xz":
		return xzStream(o, data)
	}
	return lz4Stream(o, data), nil
}

func gzipped(o map[string]string, data []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Comment, z.Name = o["comment"], o["name"]
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var le = binary.LittleEndian

// zstdFrame writes raw blocks of at most 128 KiB (RFC 8878, 3.1.1). The size is
// not told, so the window is what the header says.
func zstdFrame(o map[string]string, data []byte) ([]byte, error) {
	if _, skip := o["skippable"]; skip {
		return append(le.AppendUint32(le.AppendUint32(nil, 0x184d2a50), uint32(len(data))), data...), nil
	}
	log := 17
	if o["window"] != "" {
		var err error
		if log, err = strconv.Atoi(o["window"]); err != nil || log < 10 || log > 41 {
			return nil, fmt.Errorf("window=%s is not from 10 to 41", o["window"])
		}
	}
	out := le.AppendUint32(nil, 0xfd2fb528)
	out = append(out, 0, byte(log-10)<<3)
	for {
		n := min(len(data), 128<<10)
		header := n << 3
		if n == len(data) {
			header |= 1 // the last one
		}
		out = append(out, byte(header), byte(header>>8), byte(header>>16))
		out = append(out, data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return out, nil
		}
	}
}

// lz4Stream writes blocks of literals: a token with 15 in its upper half, bytes
// that add up to the number of literals less 15, and these.
func lz4Stream(o map[string]string, data []byte) []byte {
	if _, frame := o["frame"]; frame {
		return append([]byte("\x04\x22\x4d\x18"), data...) // what follows does not matter
	}
	out := le.AppendUint32(nil, 0x184c2102)
	const most = 8 << 20
	for len(data) > 0 {
		n := min(len(data), most)
		block := []byte{byte(min(n, 15)) << 4}
		if rest := n - 15; rest >= 0 {
			block = append(block, bytes.Repeat([]byte{255}, rest/255)...)
			block = append(block, byte(rest%255))
		}
		block = append(block, data[:n]...)
		out = append(le.AppendUint32(out, uint32(len(block))), block...)
		data = data[n:]
	}
	return out
}

// xzStream writes one block of uncompressed LZMA2 chunks (the .xz file format,
// 1.2.0).
func xzStream(o map[string]string, data []byte) ([]byte, error) {
	check, sum := byte(1), le.AppendUint32(nil, crc32.ChecksumIEEE(data))
	switch o["check"] {
	case "", "crc32":
	case "none":
		check, sum = 0, nil
	case "crc64":
		check, sum = 4, le.AppendUint64(nil, crc64.Checksum(data, crc64.MakeTable(crc64.ECMA)))
	case "sha256":
		digest := sha256.Sum256(data)
		check, sum = 10, digest[:]
	default:
		return nil, fmt.Errorf("check=%s is not known", o["check"])
	}
	flags := []byte{0, check}
	out := withCRC(append([]byte("\xfd7zXZ\x00"), flags...), 6)
	blocks, records := 0, []byte{}
	if len(data) > 0 {
		header := []byte{2, 0, 0x21, 1, 8, 0, 0, 0} // one filter: LZMA2 with a dictionary of 64 KiB
		block := append(withCRC(header, 0), lzma2(data)...)
		unpadded := len(block) + len(sum)
		block = append(block, make([]byte, -len(block)&3)...)
		out = append(append(out, block...), sum...)
		blocks, records = 1, number(number(nil, unpadded), len(data))
	}
	index := append(number([]byte{0}, blocks), records...)
	index = withCRC(append(index, make([]byte, -len(index)&3)...), 0)
	footer := append(le.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	out = append(out, index...)
	out = le.AppendUint32(out, crc32.ChecksumIEEE(footer))
	return append(append(out, footer...), "YZ"...), nil
}

// withCRC adds the CRC32 of b without its first bytes.
func withCRC(b []byte, skip int) []byte { return le.AppendUint32(b, crc32.ChecksumIEEE(b[skip:])) }

// number is xz's multibyte integer.
func number(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func lzma2(data []byte) []byte {
	var out []byte
	for control := byte(1); len(data) > 0; control = 2 { // 1: with a new dictionary
		n := min(len(data), 64<<10)
		out = append(out, control, byte((n-1)>>8), byte(n-1))
		out = append(out, data[:n]...)
		data = data[n:]
	}
	return append(out, 0)
}
