package kernel

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// stubSymbols: a System.map with fewer lines is none. The smallest kernels have
// tens of thousands.
const stubSymbols = 100

// AddSystemMap puts in a System.map: names of exported symbols, and of old kernels
// their checksums.
//
//	ADDRESS TYPE NAME
//
// One that is only a stub, as Debian's, is noted. Errors name the line.
func (f *Facts) AddSystemMap(r io.Reader, file string) error {
	from := Origin{Source: FromMap, File: file}
	exports := make(map[string]Export)
	crcs := make(map[string]uint32)
	lines := 0
	err := eachLine(r, func(line string) error {
		address, name, err := parseMapLine(line)
		if err != nil {
			return err
		}
		lines++
		if strings.Contains(name, "\t") {
			return nil // of a module: /proc/kallsyms has the same form
		}
		if export, ok := strings.CutPrefix(name, "__ksymtab_"); ok {
			exports[export] = Export{Provider: "vmlinux"}
		} else if export, ok := strings.CutPrefix(name, "__crc_"); ok && address>>32 == 0 {
			crcs[export] = uint32(address)
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("system map: %w", err)
	case lines == 0:
		return errors.New("system map: it is empty")
	case lines < stubSymbols:
		f.note(file, "take the one of the kernel's debug package, or the kernel image", "it is only a stub, and tells nothing")
		return nil
	}
	if len(exports) > 0 && from.better(f.ExportsFrom) {
		for name, crc := range crcs {
			if e, ok := exports[name]; ok {
				e.CRC, e.HasCRC = crc, true
				exports[name] = e
			}
		}
		f.Exports, f.ExportsFrom = exports, from
	}
	f.complete()
	return nil
}

func parseMapLine(line string) (address uint64, name string, err error) {
	digits, rest, _ := strings.Cut(line, " ")
	kind, name, _ := strings.Cut(rest, " ")
	if address, err = strconv.ParseUint(digits, 16, 64); err != nil || len(kind) != 1 || name == "" {
		return 0, "", fmt.Errorf("%.40q is not ADDRESS TYPE NAME", line)
	}
	return address, name, nil
}
