package depmod

import (
	"bufio"
	"fmt"
	"strings"
)

// devname writes modules.devname, "MODULE NAME cMAJOR:MINOR" for every module
// whose aliases name a device file. There is no header when there is no line.
func (ix *indexer) devname() func(w *bufio.Writer) {
	var lines []string
	for _, m := range ix.tree.Modules {
		if m.Info == nil {
			continue
		}
		name, number := deviceOf(m)
		switch {
		case name == "":
		case number == "":
			p := warning(RuleDevname, m.Path, "", "the device name %s comes without a device number, left out", name)
			p.Severity = Error
			p.kmod = "Module '" + m.Name + "' has devname (" + name + ") but lacks major and minor information. Ignoring."
			ix.problems = append(ix.problems, p)
		default:
			lines = append(lines, m.Name+" "+name+" "+number+"\n")
		}
	}
	return func(w *bufio.Writer) {
		for i, line := range lines {
			if i == 0 {
				w.WriteString("# Device nodes to trigger on-demand module loading.\n")
			}
			w.WriteString(line)
		}
	}
}

// deviceOf looks for "devname:X" and "char-major-A-B" or "block-major-A-B" among
// the aliases, until both are known.
func deviceOf(m *Module) (name, number string) {
	for alias := range m.Info.All("alias") {
		if n, ok := strings.CutPrefix(alias, "devname:"); ok {
			name = n
		} else if n, ok := deviceNumber(alias, "char-major-", 'c'); ok {
			number = n
		} else if n, ok := deviceNumber(alias, "block-major-", 'b'); ok {
			number = n
		}
		if name != "" && number != "" {
			break
		}
	}
	return name, number
}

// deviceNumber reads PREFIX%u-%u as scanf does: what follows is ignored.
func deviceNumber(alias, prefix string, kind byte) (string, bool) {
	rest, ok := strings.CutPrefix(alias, prefix)
	if !ok {
		return "", false
	}
	major, rest, ok := scanUint(rest)
	if !ok || !strings.HasPrefix(rest, "-") {
		return "", false
	}
	minor, _, ok := scanUint(rest[1:])
	return fmt.Sprintf("%c%d:%d", kind, major, minor), ok
}

// scanUint is scanf's %u: blanks, a sign and digits; the value wraps around.
func scanUint(s string) (n uint32, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	for len(s) > 0 && s[0] >= '0' && s[0] <= '9' {
		n, s, ok = n*10+uint32(s[0]-'0'), s[1:], true
	}
	if negative {
		n = -n
	}
	return n, s, ok
}
