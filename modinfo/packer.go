package modinfo

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// What scripts/Makefile.modinst asks of the tools, so that the kernel can unpack the
// files itself (MODULE_DECOMPRESS, kernel/module/decompress.c):
//
//	gzip -n                               no name and no time
//	xz --check=crc32 --lzma2=dict=1MiB    its decoder knows no other checksum
//	zstd                                  level 3, which looks back 2 MiB
const (
	packXZDict     = 1 << 20
	xzLeastDict    = 4096 // of the format
	packZstdWindow = 2 << 20
	packGzipLevel  = 6
)

// A Packer packs one module after the other with the same encoders and buffers. The
// zero value is ready. It is not for concurrent use.
type Packer struct {
	out bytes.Buffer
	zst *zstd.Encoder
}

// Pack gives the packed bytes, valid until the next call; those of [None] are the
// module itself. The same module gives the same bytes.
func (p *Packer) Pack(packing Compression, plain []byte) ([]byte, error) {
	p.out.Reset()
	switch packing {
	case Gzip:
		return p.gzip(plain)
	case XZ:
		return p.xz(plain)
	case Zstd:
		return p.zstd(plain)
	}
	return plain, nil
}

func (p *Packer) gzip(plain []byte) ([]byte, error) {
	z, err := gzip.NewWriterLevel(&p.out, packGzipLevel)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	z.ModTime = time.Unix(0, 0) // the library's zero time is not that
	_, err = z.Write(plain)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return p.out.Bytes(), nil
}

func (p *Packer) xz(plain []byte) ([]byte, error) {
	// more than the module is not looked back, but takes room to be cleared
	dict := max(xzLeastDict, min(packXZDict, 1<<bits.Len(uint(len(plain)))))
	z, err := xz.WriterConfig{DictCap: dict, CheckSum: xz.CRC32}.NewWriter(&p.out)
	if err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	}
	_, err = z.Write(plain)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	}
	return p.out.Bytes(), nil
}

func (p *Packer) zstd(plain []byte) ([]byte, error) {
	if p.zst == nil {
		var err error
		p.zst, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(packZstdWindow), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	return p.zst.EncodeAll(plain, p.out.AvailableBuffer()), nil
}
