package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Limits of a configuration. Debian's has 260 kB; the longest lines are those
// of lists of keys or commands.
const (
	maxConfig     = 16 << 20 // bytes, unpacked
	maxConfigLine = 64 << 10
)

// Config is the configuration of a kernel: each option without CONFIG_ and its
// value as the .config file has it, "y", "m" or a number; strings are without
// their quotes. Options that the file says are not set have the value "n"; it is
// silent about those whose conditions do not hold or that the kernel does not
// know, and they are not in the map.
type Config map[string]string

// ParseConfig reads a configuration: the .config of a build directory, Debian's
// /boot/config-VERSION, or what a kernel with CONFIG_IKCONFIG_PROC shows as
// /proc/config.gz, compressed with gzip or not. A repeated option has its last
// value, as in the kernel's own tools. Errors name the line.
func ParseConfig(r io.Reader) (Config, error) {
	br := bufio.NewReader(r)
	if magic, err := br.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("kernel configuration: %w", err)
		}
		defer z.Close()
		br = bufio.NewReader(z)
	}
	c, err := parseConfig(br)
	if err != nil {
		return nil, fmt.Errorf("kernel configuration: %w", err)
	}
	return c, nil
}

func parseConfig(r io.Reader) (Config, error) {
	c := make(Config)
	in := &io.LimitedReader{R: r, N: maxConfig + 1}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxConfigLine)
	n := 0
	for lines.Scan() && lines.Err() == nil && in.N > 0 { // otherwise it may be half a line
		n++
		if err := c.line(strings.TrimRight(lines.Text(), " \t\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: longer than %d bytes", n+1, maxConfigLine)
	case err != nil:
		return nil, err
	case in.N == 0:
		return nil, fmt.Errorf("larger than %d bytes", maxConfig)
	case len(c) == 0:
		return nil, errors.New("not one CONFIG_ option is in it")
	}
	return c, nil
}

// line takes one line: an option, an option that is not set, a comment, or
// nothing (scripts/kconfig/confdata.c in the kernel).
func (c Config) line(s string) error {
	if rest, ok := strings.CutPrefix(s, "# CONFIG_"); ok {
		if name, ok := strings.CutSuffix(rest, " is not set"); ok && isOption(name) {
			c[name] = "n"
		}
		return nil
	}
	if s == "" || s[0] == '#' {
		return nil
	}
	rest, ok := strings.CutPrefix(s, "CONFIG_")
	if !ok {
		return fmt.Errorf("%.40q is neither an option nor a comment", s)
	}
	name, value, ok := strings.Cut(rest, "=")
	if !ok || !isOption(name) || value == "" {
		return fmt.Errorf("%.40q is no option with a value", s)
	}
	if value[0] == '"' {
		text, ok := unquote(value[1:])
		if !ok {
			return fmt.Errorf("%.40q: the quotes are not closed", s)
		}
		value = text
	}
	c[name] = value
	return nil
}

func isOption(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != ""
}

// unquote returns what comes before the closing quote. A backslash makes the
// character behind it an ordinary one.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i+1 == len(s)
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", false
}
