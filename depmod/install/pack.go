package install

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/kstage/kstage/modinfo"
)

// What scripts/Makefile.modinst asks of the tools, so that the kernel can unpack the
// files itself (MODULE_DECOMPRESS, kernel/module/decompress.c):
//
//	gzip -n                               no name and no time
//	xz --check=crc32 --lzma2=dict=1MiB    its decoder knows no other checksum
//	zstd                                  level 3, which looks back 2 MiB
const (
	xzDict     = 1 << 20
	zstdWindow = 2 << 20
	gzipLevel  = 6
)

// A packer packs one module after the other.
type packer struct {
	out bytes.Buffer
	zst *zstd.Encoder
}

// pack gives the packed bytes, valid until the next call. The same module gives the same
// bytes.
func (p *packer) pack(packing modinfo.Compression, plain []byte) ([]byte, error) {
	p.out.Reset()
	switch packing {
	case modinfo.Gzip:
		return p.gzip(plain)
	case modinfo.XZ:
		return p.xz(plain)
	case modinfo.Zstd:
		return p.zstd(plain)
	}
	return plain, nil
}

func (p *packer) gzip(plain []byte) ([]byte, error) {
	z, err := gzip.NewWriterLevel(&p.out, gzipLevel)
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

func (p *packer) xz(plain []byte) ([]byte, error) {
	z, err := xz.WriterConfig{DictCap: xzDict, CheckSum: xz.CRC32}.NewWriter(&p.out)
	if err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	}
	_, err = z.Write(plain)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("xz: %w", err)
	}
	return p.out.Bytes(), nil
}

func (p *packer) zstd(plain []byte) ([]byte, error) {
	if p.zst == nil {
		var err error
		p.zst, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	return p.zst.EncodeAll(plain, p.out.AvailableBuffer()), nil
}

// forKernel tells whether the kernel can unpack a packed module itself. Of xz it knows no
// checksum but CRC32 (lib/xz/xz_dec_stream.c); which one it is stands in the second byte
// behind the magic.
func forKernel(packing modinfo.Compression, packed []byte) bool {
	const flags = 7
	return packing != modinfo.XZ || len(packed) > flags && packed[flags] <= 1
}
