package kernel

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// stubSymbols: a System.map with fewer lines is none. The smallest kernels have
// tens of thousands.
const stubSymbols = 100

// AddSystemMap puts in a System.map: names of exported symbols, of old kernels their
// checksums, and of riscv's the relocations that the loader has functions for.
//
//	ADDRESS TYPE NAME
//
// One that is only a stub, as Debian's, is noted. Errors name the line.
func (f *Facts) AddSystemMap(r io.Reader, file string) error {
	from := Origin{Source: FromMap, File: file}
	names := newTableNames()
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
		names.add([]byte(name))
		if export, ok := strings.CutPrefix(name, "__crc_"); ok && address>>32 == 0 {
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
	for name, crc := range crcs {
		if e, ok := names.exports[name]; ok {
			e.CRC, e.HasCRC = crc, true
			names.exports[name] = e
		}
	}
	f.setExports(names.exports, from)
	if names.handlers.isTable() {
		f.setMachine(elf.EM_RISCV, file)
		f.setRelocations(names.handlers, from)
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
