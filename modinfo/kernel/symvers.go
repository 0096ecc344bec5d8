package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of lists of symbols, far above those of distributions' kernels.
const (
	maxSymbolList = 256 << 20 // bytes
	maxSymbolLine = 4 << 10
)

// AddSymvers puts in a Module.symvers, as a kernel's build directory has it and the
// headers packages of distributions. One of modules that were built outside adds
// theirs. Columns are divided by tabs:
//
//	0xCRC  NAME  vmlinux|MODULE  EXPORT_SYMBOL[_GPL]  NAMESPACE
//
// Before 5.4 there was no namespace; 5.4 and 5.5 had it as the third column. All
// checksums are 0 when the kernel has no MODVERSIONS. Errors name the line.
func (f *Facts) AddSymvers(r io.Reader, file string) error {
	symbols := make(map[string]Export)
	modules := make(map[string]Export)
	versions := false
	err := eachLine(r, func(line string) error {
		name, e, err := parseSymvers(line)
		if err != nil {
			return err
		}
		versions = versions || e.CRC != 0
		if e.Provider == "vmlinux" {
			symbols[name] = e
		} else {
			modules[name] = e
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("symbol versions: %w", err)
	}
	if !versions {
		withoutCRC(symbols)
		withoutCRC(modules)
	}
	from := Origin{Source: FromSymvers, File: file}
	f.setExports(symbols, from)
	if f.ModuleExports == nil {
		f.ModuleExports = modules
		return nil
	}
	for name, e := range modules {
		if _, ok := f.ModuleExports[name]; !ok {
			f.ModuleExports[name] = e
		}
	}
	return nil
}

func withoutCRC(symbols map[string]Export) {
	for name, e := range symbols {
		e.HasCRC = false
		symbols[name] = e
	}
}

func parseSymvers(line string) (name string, e Export, err error) {
	columns := strings.Split(line, "\t")
	if len(columns) == 5 && isExport(columns[4]) && !isExport(columns[3]) {
		columns = []string{columns[0], columns[1], columns[3], columns[4], columns[2]} // 5.4, 5.5
	}
	if len(columns) != 4 && len(columns) != 5 {
		return "", e, fmt.Errorf("%d columns divided by tabs, not 4 or 5", len(columns))
	}
	digits, ok := strings.CutPrefix(columns[0], "0x")
	crc, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil {
		return "", e, fmt.Errorf("%.40q is no checksum", columns[0])
	}
	if columns[1] == "" || columns[2] == "" || !isExport(columns[3]) {
		return "", e, errors.New("name, module or kind of export is missing")
	}
	e = Export{CRC: uint32(crc), HasCRC: true, GPL: strings.HasSuffix(columns[3], "_GPL"), HasGPL: true,
		Provider: strings.TrimSuffix(columns[2], ".ko")}
	if len(columns) == 5 {
		e.Namespace = columns[4]
	}
	return columns[1], e, nil
}

// isExport tells a kind of export; kernels before 5.9 had EXPORT_UNUSED_SYMBOL and
// EXPORT_SYMBOL_GPL_FUTURE too.
func isExport(s string) bool {
	return strings.HasPrefix(s, "EXPORT_SYMBOL") || strings.HasPrefix(s, "EXPORT_UNUSED_SYMBOL")
}

// eachLine hands out the lines of a list of symbols. Errors name the line.
func eachLine(r io.Reader, take func(line string) error) error {
	in := &io.LimitedReader{R: r, N: maxSymbolList + 1}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxSymbolLine)
	n := 0
	for lines.Scan() && lines.Err() == nil && in.N > 0 {
		n++
		if err := take(strings.TrimSuffix(lines.Text(), "\r")); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("line %d: longer than %d bytes", n+1, maxSymbolLine)
	case err != nil:
		return err
	case in.N == 0:
		return fmt.Errorf("larger than %d bytes", maxSymbolList)
	}
	return nil
}
