package preflight

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kstage/kstage/modinfo"
)

// checkParams is parse_args with what the module is given (kernel/params.c). It looks
// at all, and the last that is refused counts.
func checkParams(c *Check, m *module) (findings []Finding) {
	types := m.paramTypes()
	for name, value := range arguments(c.Params) {
		if name == "--" && value == nil {
			break
		}
		typ, known := types[underscored(name)]
		if !known {
			if f := m.unknownParam(name); f != nil {
				findings = append(findings, *f)
			}
			continue
		}
		errno, why := paramFault(typ, value)
		if errno == 0 {
			continue
		}
		text := ""
		if value != nil {
			text = *value
		}
		f := Finding{Rule: Params, Severity: Fail, Errno: errno, Symbol: name, Reported: true,
			Text:  fmt.Sprintf("parameter %s, %s, does not take %q: %s", name, typ, text, why),
			Dmesg: []string{fmt.Sprintf("%s: `%s' invalid for parameter `%s'", m.name, text, name)}}
		if errno == ENOSPC {
			f.Dmesg = []string{name + ": string parameter too long", fmt.Sprintf("%s: `%s' too large for parameter `%s'", m.name, text, name)}
		}
		findings = append(findings, f)
	}
	return findings
}

// paramTypes gives the types of the module's parameters, by name with underscores;
// empty for those of kinds of their own.
func (m *module) paramTypes() map[string]string {
	types := make(map[string]string)
	params, _ := modinfo.Params(m.fields)
	for _, p := range params {
		types[underscored(p.Name)] = p.Type
	}
	return types
}

// unknownParam is unknown_module_param_cb: two names are always taken.
func (m *module) unknownParam(name string) *Finding {
	if name == "async_probe" || name == "dyndbg" {
		return nil
	}
	return &Finding{Rule: Params, Severity: Warn, Symbol: name, Text: "the module has no parameter " + name + ", which is ignored",
		Hint: "kstage modinfo shows the parameters", Dmesg: []string{m.name + ": unknown parameter '" + name + "' ignored"}}
}

// paramFault tells what the kernel would return for a value, and why; 0 when it takes
// it, or when the type is not one of the usual.
func paramFault(typ string, value *string) (Errno, string) {
	if rest, ok := strings.CutPrefix(typ, "array of "); ok && value != nil {
		for v := range strings.SplitSeq(*value, ",") {
			if errno, why := paramFault(rest, &v); errno != 0 {
				return errno, why
			}
		}
		return 0, ""
	}
	switch typ {
	case "bool", "invbool", "bint":
		if value == nil {
			return 0, ""
		}
		if _, ok := parseBool(*value); !ok {
			return EINVAL, "it is none of y, n, 1, 0, on, off"
		}
		return 0, ""
	}
	if value == nil {
		return EINVAL, "a value is missing"
	}
	const longest = 1024
	if typ == "charp" {
		if len(*value) > longest {
			return ENOSPC, fmt.Sprintf("it is longer than %d bytes", longest)
		}
		return 0, ""
	}
	if bits, ok := numberBits[typ]; ok {
		return numberFault(*value, bits)
	}
	return 0, ""
}

// numberBits are the sizes of the types for numbers in bits, negative for signed ones;
// of a long as on machines of 64 bits.
var numberBits = map[string]int{
	"byte": 8, "short": -16, "ushort": 16, "int": -32, "uint": 32, "long": -64, "ulong": 64, "ullong": 64, "hexint": 32,
}

// numberFault is kstrtoint and its kind (lib/kstrtox.c): decimal, 0x… or 0…, one sign,
// one newline at the end.
func numberFault(s string, bits int) (Errno, string) {
	s = strings.TrimSuffix(s, "\n")
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	if negative && bits > 0 {
		return EINVAL, "it is negative"
	}
	base := 10
	switch lower := strings.ToLower(digits); {
	case strings.HasPrefix(lower, "0x") && len(digits) > 2:
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0"):
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 64)
	limit := uint64(1)<<(abs(bits)-1)<<1 - 1
	if bits < 0 {
		limit = uint64(1)<<(-bits-1) - 1
		if negative {
			limit++
		}
	}
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > limit:
		return ERANGE, fmt.Sprintf("it does not fit into %d bits", abs(bits))
	case err != nil:
		return EINVAL, "it is not a number"
	}
	return 0, ""
}

func abs(n int) int { return max(n, -n) }

// Those that only parameters return.
const (
	ENOSPC Errno = 28
	ERANGE Errno = 34
)
