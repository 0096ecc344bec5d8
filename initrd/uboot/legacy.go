package uboot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
)

// The legacy header, 64 bytes before the data. All numbers are big endian.
//
//	 0  magic   27051956
//	 4  hcrc    CRC-32 of the header, with this field 0
//	 8  time    seconds since 1970
//	12  size    bytes of data
//	16  load    address to load to; 0 for a ramdisk, which U-Boot places itself
//	20  entry   address to jump to; 0 for a ramdisk
//	24  dcrc    CRC-32 of the data
//	28  os      5: Linux
//	29  arch    26: RISC-V, of 32 and of 64 bits
//	30  type    3: ramdisk
//	31  comp    0: none
//	32  name    32 bytes, filled up with zero bytes
const (
	legacyMagic = 0x27051956
	legacyLen   = 64
	legacyName  = 32

	osLinux     = 5
	archRISCV   = 26
	typeRamdisk = 3
)

// Legacy is a ramdisk behind a uImage header.
type Legacy struct {
	// Name is what U-Boot prints; it is cut after 32 bytes.
	Name string

	// Time is when the image was made, in seconds since 1970.
	Time uint32

	// Ramdisk is read twice: its checksum stands before it.
	Ramdisk *io.SectionReader
}

// Size returns how many bytes [Legacy.Write] will write. More than 4 GiB do not
// fit.
func (l Legacy) Size() (int64, error) {
	n := l.Ramdisk.Size()
	if n > math.MaxUint32 {
		return 0, fmt.Errorf("uimage: the ramdisk has %d bytes, at most %d fit", n, uint32(math.MaxUint32))
	}
	return legacyLen + n, nil
}

// Write writes header and ramdisk. The end of ctx is an error.
func (l Legacy) Write(ctx context.Context, w io.Writer) error {
	size, err := l.Size()
	if err != nil {
		return err
	}
	crc := crc32.NewIEEE()
	if err := copySection(ctx, crc, l.Ramdisk); err != nil {
		return fmt.Errorf("uimage: ramdisk: %w", err)
	}
	head := make([]byte, legacyLen)
	be := binary.BigEndian
	be.PutUint32(head, legacyMagic)
	be.PutUint32(head[8:], l.Time)
	be.PutUint32(head[12:], uint32(size-legacyLen))
	be.PutUint32(head[24:], crc.Sum32())
	head[28], head[29], head[30] = osLinux, archRISCV, typeRamdisk
	copy(head[32:], l.Name)
	be.PutUint32(head[4:], crc32.ChecksumIEEE(head))
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("uimage: header: %w", err)
	}
	if err := copyAgain(ctx, w, l.Ramdisk, crc32.NewIEEE(), crc.Sum(nil)); err != nil {
		return fmt.Errorf("uimage: ramdisk: %w", err)
	}
	return nil
}

// archNames are U-Boot's names of the architectures that Linux boots on today.
var archNames = map[byte]string{
	2: "arm", 3: "x86", 5: "mips", 6: "mips64", 7: "powerpc", 22: "arm64", 24: "x86_64", archRISCV: "riscv",
}

// openLegacy reads the header; the data follow in r.
func openLegacy(r io.Reader) (*Image, error) {
	head := make([]byte, legacyLen)
	if n, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("uimage: header at offset %d: %w", n, cutOff(err))
	}
	be := binary.BigEndian
	stored := be.Uint32(head[4:])
	clear(head[4:8])
	if sum := crc32.ChecksumIEEE(head); sum != stored {
		return nil, fmt.Errorf("uimage: the header's CRC-32 is %08x, the header says %08x", sum, stored)
	}
	if head[30] != typeRamdisk {
		return nil, fmt.Errorf("uimage: holds an image of type %d, not a ramdisk (type %d)", head[30], typeRamdisk)
	}
	if head[28] != osLinux {
		return nil, fmt.Errorf("uimage: is for operating system %d, not Linux (%d)", head[28], osLinux)
	}
	name, _, _ := bytes.Cut(head[legacyLen-legacyName:], []byte{0})
	arch, known := archNames[head[29]]
	if !known {
		arch = fmt.Sprintf("architecture %d", head[29])
	}
	i := &Image{
		Format: FormatLegacy, Name: strings.ToValidUTF8(string(name), "?"), Arch: arch,
		Time: be.Uint32(head[8:]), Offset: legacyLen, Size: int64(be.Uint32(head[12:])),
	}
	i.checks = []check{{"data", "CRC-32", crc32.NewIEEE(), head[24:28]}}
	i.r = io.LimitReader(r, i.Size)
	return i, nil
}

var errCutOff = errors.New("the image is cut off")

// cutOff words the end of the input where more must come.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCutOff
	}
	return err
}
