package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// RuleCapture is the rule of problems with lines of a capture.
const RuleCapture = "modalias-line"

const (
	maxLine    = 4096 // bytes: sysfs gives no more than a page
	maxSkipped = 20   // lines that are told one by one
)

// Capture reads the modaliases that a running system shows, one a line. Each of
// these makes such a file, on the board itself or through a serial console:
//
//	find /sys/devices -name modalias -exec cat {} +
//	grep -r . /sys/devices --include=modalias
//	cat /sys/bus/*/devices/*/modalias
//	udevadm info --export-db
//
// What stands before the alias, the path and a colon or MODALIAS=, counts for
// nothing, and neither do lines that hold only the path, comments (#), empty lines,
// or those of udevadm about other things. A line that is none of these is skipped, and is a
// problem; from the 21st on they are only counted. An alias that comes again is
// not repeated.
//
// name stands in [closure.Choice.From] and in problems, before the number of the
// line. A file without any modalias is an error.
func Capture(name string, r io.Reader) ([]closure.Choice, []depmod.Problem, error) {
	c := capture{name: name, seen: make(map[string]bool)}
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := readLine(br)
		if err != nil && err != io.EOF && !errors.Is(err, errLong) {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		if c.line++; len(line) > 0 || err != io.EOF {
			c.take(string(line), err)
		}
		if err == io.EOF {
			break
		}
	}
	if len(c.choices) == 0 {
		return nil, nil, fmt.Errorf("%s: there is no modalias in it, such as pci:v00001AF4d…", name)
	}
	if c.skipped > maxSkipped {
		c.problem(name, fmt.Sprintf("%d more lines are no modaliases either", c.skipped-maxSkipped))
	}
	return c.choices, c.problems, nil
}

type capture struct {
	name     string
	line     int
	seen     map[string]bool
	choices  []closure.Choice
	problems []depmod.Problem
	skipped  int
}

var errLong = fmt.Errorf("the line is longer than %d bytes", maxLine)

// readLine returns the next line, without its end. Of one that is too long it
// returns the beginning and errLong.
func readLine(br *bufio.Reader) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	start := append([]byte(nil), line[:40]...)
	for err == bufio.ErrBufferFull {
		_, err = br.ReadSlice('\n')
	}
	if err == nil || err == io.EOF { // the next call meets the end again
		err = errLong
	}
	return start, err
}

// take looks at one line.
func (c *capture) take(line string, err error) {
	at := fmt.Sprintf("%s:%d", c.name, c.line)
	text := strings.TrimSpace(line)
	alias := prefix().ReplaceAllString(text, "")
	switch {
	case errors.Is(err, errLong):
		c.skip(at, fmt.Sprintf("%q…: %v", text, err))
	case form().MatchString(alias):
		if !c.seen[alias] {
			c.seen[alias] = true
			c.choices = append(c.choices, closure.Devices(at, []string{alias})...)
		}
	case text != "" && !quiet().MatchString(text):
		c.skip(at, fmt.Sprintf("%q is no modalias", shortened(text)))
	}
}

var (
	// prefix is what grep -Hn or udevadm put before an alias. Paths have colons:
	// /sys/devices/pci0000:00/0000:00:01.0/modalias:pci:v0000…
	prefix = lazyregexp.New(`^(.*/)?modalias:(\d+:)?|^(E: ?)?MODALIAS=`)
	// quiet is what need not be told: a comment, a file's name as find prints it,
	// or tail above what is in it, what else udevadm or a uevent file says.
	quiet = lazyregexp.New(`^#|^(==> )?(\S*/)?modalias( <==)?$|^[A-Z]: |^[A-Z][A-Z0-9_]*=`)
	// form is a modalias: the bus, a colon and something about the device, in
	// which there may be blanks, though not at the beginning as in what a program
	// says about itself: "cat: modalias: Permission denied".
	form = lazyregexp.New(`^[a-z][a-z0-9_-]*:[!-~]([ -~]*[!-~])?$`)
)

// shortened is the beginning of a text.
func shortened(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}

func (c *capture) skip(at, text string) {
	if c.skipped++; c.skipped <= maxSkipped {
		c.problem(at, text)
	}
}

func (c *capture) problem(at, text string) {
	c.problems = append(c.problems, depmod.Problem{Rule: RuleCapture, Severity: depmod.Warning, Text: at + ": " + text})
}
