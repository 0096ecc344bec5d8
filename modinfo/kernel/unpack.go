package kernel

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/kstage/kstage/internal/xz"
	"github.com/kstage/kstage/internal/zstdframe"
)

// packings by their first bytes.
var packings = []struct{ magic, name string }{
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\xfd7zXZ\x00", "xz"},
	{legacyLZ4, "lz4"},
	{"\x04\x22\x4d\x18", "lz4 frame"},
	{"\x5d\x00\x00", "lzma"},
	{"BZh", "bzip2"},
	{"\x89LZO", "lzo"},
}

// packingOf names the packing of data; empty when there is none.
func packingOf(data []byte) string {
	for _, p := range packings {
		if bytes.HasPrefix(data, []byte(p.magic)) {
			return p.name
		}
	}
	return ""
}

// unpack gives what data unpacks to, at most limit bytes. What comes behind is left
// out: some kernels' makefiles append the unpacked size.
func unpack(packing string, data []byte, limit int64) ([]byte, error) {
	src := bytes.NewReader(data)
	plain, err := unpackFrom(packing, src, data, limit)
	var fromXZ *xz.FormatError
	switch {
	case err == nil, errors.Is(err, errTooLarge):
		return plain, err
	case errors.Is(err, xz.ErrUnsupported):
		return nil, fmt.Errorf("%w; unpack it with xz -dc, or scripts/extract-vmlinux of the kernel, and name the result", err)
	case errors.As(err, &fromXZ):
		return nil, err // has its own offset
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return nil, fmt.Errorf("%s data is cut off at byte %d", packing, len(data))
	}
	return nil, fmt.Errorf("%s data before byte %d: %w", packing, int64(len(data)-src.Len()), err)
}

func unpackFrom(packing string, src *bytes.Reader, data []byte, limit int64) ([]byte, error) {
	var r io.Reader
	var err error
	switch packing {
	case "gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(src); err == nil {
			z.Multistream(false)
		}
		r = z
	case "zstd":
		return unzstd(data, limit)
	case "xz":
		r, err = xz.NewStreamReader(bufio.NewReader(src))
	case "lz4":
		return unlz4(data, limit)
	case "lz4 frame":
		r = lz4.NewReader(src)
	case "lzma":
		r, err = xz.NewAloneReader(bufio.NewReader(src))
	case "bzip2":
		r = bzip2.NewReader(src)
	default:
		err = errors.New("not supported; unpack it with lzop -dc and name the result")
	}
	if err != nil {
		return nil, err
	}
	return readAll(r, limit)
}

var errTooLarge = errors.New("too large")

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: a kernel may have %d bytes at most, unpacked", errTooLarge, limit)
}

// readAll reads all of r, up to limit bytes. Room doubles as it fills.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	buf := make([]byte, 0, min(64<<10, limit+1))
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) == cap(buf):
			buf = append(make([]byte, 0, min(2*int64(cap(buf)), limit+1)), buf...)
		}
	}
}

// unzstd unpacks the frame that data begins with. Room is made for at most 8 times
// its size, and then as it fills: the decoder is given another header, that claims
// neither size nor window.
func unzstd(data []byte, limit int64) ([]byte, error) {
	var h zstd.Header
	switch err := h.Decode(data); {
	case err != nil:
		return nil, err
	case h.DictionaryID != 0:
		return nil, errors.New("needs a dictionary")
	}
	end, holds, whole := zstdframe.Blocks(data[h.HeaderSize:])
	if h.HasCheckSum {
		end += 4
	}
	blocks := bytesAt(data, uint64(h.HeaderSize), uint64(end))
	if !whole || blocks == nil {
		return nil, io.ErrUnexpectedEOF
	}
	most := uint64(1) << bits.Len64(uint64(limit-1)) // windows are powers of 2, and must not be larger
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(most), zstd.WithDecoderMaxMemory(most))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	frame := append(plainHeader(h.HasCheckSum, min(holds, most-1)), blocks...)
	room := min(8*uint64(len(frame)), uint64(limit), holds)
	if h.HasFCS {
		room = min(room, h.FrameContentSize)
	}
	plain, err := z.DecodeAll(frame, make([]byte, 0, room))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), int64(len(plain)) > limit:
		return nil, tooLarge(limit)
	case err == nil && h.HasFCS && uint64(len(plain)) != h.FrameContentSize:
		return nil, fmt.Errorf("it unpacks to %d bytes, not to %d as its header says", len(plain), h.FrameContentSize)
	}
	return plain, err
}

// plainHeader makes the header of a zstd frame (RFC 8878, 3.1.1.1): magic,
// descriptor, window as a power of 2 from 1 KiB. The window holds all there is; it
// costs nothing, since the result itself serves as the window.
func plainHeader(checksum bool, holds uint64) []byte {
	log := max(bits.Len64(holds), 10)
	descriptor := byte(0)
	if checksum {
		descriptor = 4
	}
	return []byte{0x28, 0xb5, 0x2f, 0xfd, descriptor, byte(log-10) << 3}
}

const (
	legacyLZ4 = "\x02\x21\x4c\x18"
	// lz4Block is what a block unpacks to at most (lib/decompress_unlz4.c in the kernel).
	lz4Block = 8 << 20
	// lz4Ratio is how much a byte can unpack to at most: 255 in the length of a match.
	lz4Ratio = 255
)

// unlz4 unpacks lz4's legacy format, the one that the kernel's makefiles write.
// Room is made for at most 8 times its size, then twice as much when that is full.
func unlz4(data []byte, limit int64) ([]byte, error) {
	blocks, holds, err := lz4Blocks(data)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, min(holds, 8*len(data)))
	for _, block := range blocks {
		if room := min(lz4Block, len(block)*lz4Ratio); cap(plain)-len(plain) < room {
			plain = append(make([]byte, 0, min(holds, max(2*cap(plain), len(plain)+room))), plain...)
		}
		n, err := lz4.UncompressBlock(block, plain[len(plain):cap(plain)])
		if err != nil {
			return nil, err
		}
		if plain = plain[:len(plain)+n]; int64(len(plain)) > limit {
			return nil, tooLarge(limit)
		}
	}
	return plain, nil
}

// lz4Blocks gives the blocks, and what they unpack to at most:
//
//	magic | size of a block, 4 bytes | block | size | block ...
//
// It ends with the data, a size of 0, or the unpacked size, which x86 appends.
func lz4Blocks(data []byte) (blocks [][]byte, holds int, err error) {
	for at := uint64(len(legacyLZ4)); at < uint64(len(data)); {
		b := bytesAt(data, at, 4)
		if b == nil {
			return nil, 0, io.ErrUnexpectedEOF
		}
		at += 4
		size := uint64(le.Uint32(b))
		block := bytesAt(data, at, size)
		switch {
		case string(b) == legacyLZ4:
			continue
		case size == 0, at == uint64(len(data)) && size <= uint64(holds):
			return blocks, holds, nil
		case block == nil:
			return nil, 0, io.ErrUnexpectedEOF
		}
		blocks = append(blocks, block)
		holds += min(lz4Block, len(block)*lz4Ratio)
		at += size
	}
	return blocks, holds, nil
}
