package initrd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// frame appends src as one compressed piece to dst. Pieces stand for themselves
// and can be made side by side; written one behind the other they unpack to
// their contents one behind the other, in the kernel if each of them begins
// with an entry. What ends the last one is [Compression.ending].
func (c Compression) frame(dst, src []byte) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	w, err := c.writer(b, int64(len(src)))
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// xzDict is the dictionary of each level, as xz(1) has it.
var xzDict = [...]int64{1: 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20}

// xzWriter writes one stream of one block, with CRC32: the kernel refuses all
// other checks. The kernel allocates the dictionary that is told, so it is not
// larger than the data needs.
func xzWriter(w io.Writer, level int, size int64) (io.WriteCloser, error) {
	dict := max(4096, min(xzDict[level], 1<<bits.Len64(uint64(max(size, 1)-1))))
	z, err := xz.WriterConfig{DictCap: int(dict), CheckSum: xz.CRC32}.NewWriter(w)
	if err != nil {
		return nil, fmt.Errorf("compression: xz: %w", err)
	}
	return z, nil
}

// lz4Writer writes lz4's legacy format without the end that it does not have.
type lz4Writer struct {
	w     io.Writer
	level int
	block []byte // up to lz4Block bytes
	out   []byte // header and block
	fast  lz4.Compressor
	high  lz4.CompressorHC
}

func newLZ4Writer(w io.Writer, level int, size int64) (io.WriteCloser, error) {
	z := &lz4Writer{w: w, level: level}
	// From level 3 on, as in lz4(1), chains are searched; the depth is the
	// library's for that level.
	z.high.Level = lz4.CompressionLevel(1 << (8 + level))
	z.block = make([]byte, 0, min(size, lz4Block))
	if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, lz4Magic)); err != nil {
		return nil, err
	}
	return z, nil
}

func (z *lz4Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, lz4Block-len(z.block))
		z.block = append(z.block, p[done:done+n]...)
		done += n
		if len(z.block) == lz4Block {
			if err := z.flush(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (z *lz4Writer) flush() error {
	const header = 4
	if need := header + lz4.CompressBlockBound(len(z.block)); len(z.out) < need {
		z.out = make([]byte, need)
	}
	var n int
	var err error
	if z.level < 3 {
		n, err = z.fast.CompressBlock(z.block, z.out[header:])
	} else {
		n, err = z.high.CompressBlock(z.block, z.out[header:])
	}
	if err != nil {
		return fmt.Errorf("compression: lz4: %w", err)
	}
	binary.LittleEndian.PutUint32(z.out, uint32(n))
	z.block = z.block[:0]
	_, err = z.w.Write(z.out[:header+n])
	return err
}

func (z *lz4Writer) Close() error {
	if len(z.block) == 0 {
		return nil
	}
	return z.flush()
}
