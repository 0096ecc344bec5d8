package depmod

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/kstage/kstage/modinfo"
)

// Kmod words a finding as kmod's depmod does, for tools that read its messages:
// the level (ERROR or WARNING) and the text. dir is the module directory as the
// caller named it. ok is false for findings that kmod does not report.
func (p Problem) Kmod(dir string) (level, text string, ok bool) {
	level = "WARNING"
	if p.Severity == Error {
		level = "ERROR"
	}
	full := p.Path
	if !path.IsAbs(full) {
		full = dir + "/" + p.Path
	}
	switch p.Rule {
	case RuleModule:
		return level, fmt.Sprintf("failed to load symbols from %s: %s", full, errnoText(p.Err)), true
	case RuleLink:
		return "ERROR", fmt.Sprintf("fstatat(%s, %s): %s", path.Dir(full), path.Base(full), errnoText(p.Err)), true
	case RuleSpecial:
		return "ERROR", fmt.Sprintf("unsupported file type %s: %o", full, unixType(p.mode)), true
	case RuleDirectory:
		return "ERROR", fmt.Sprintf("could not open directory %s: %s", full, errnoText(p.Err)), true
	case RuleOrder, RuleBuiltin, RuleBuiltinInfo:
		if errors.Is(p.Err, fs.ErrNotExist) {
			return level, fmt.Sprintf("could not open %s at %s: No such file or directory", p.Path, dir), true
		}
		if p.Rule == RuleOrder && p.kmod != "" {
			return level, dir + p.kmod, true
		}
	case RuleSymbol:
		return level, fmt.Sprintf("%s needs unknown symbol %s", full, p.symbol), true
	case RuleVersion:
		return level, fmt.Sprintf("%s disagrees about version of symbol %s", full, p.symbol), true
	}
	return level, p.kmod, p.kmod != ""
}

// errnoText is what strerror says.
func errnoText(err error) string {
	switch {
	case errors.Is(err, modinfo.ErrNotELF):
		return "Exec format error"
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	return "Invalid argument"
}

// unixType gives the st_mode of a special file, whose permissions are not known.
func unixType(mode fs.FileMode) uint32 {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return 0o010000
	case mode&fs.ModeSocket != 0:
		return 0o140000
	case mode&fs.ModeCharDevice != 0:
		return 0o020000
	}
	return 0o060000
}
