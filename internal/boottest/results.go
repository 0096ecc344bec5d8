package boottest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Result is one command that the init of AddInit carried out.
type Result struct {
	Command string // the words of the command, one blank between them
	Exit    int    // its exit status; for the verb insmod the errno
	Output  string // what it printed, and what the kernel said meanwhile, without time stamps
}

var (
	stamp  = regexp.MustCompile(`^\[ *[0-9]+\.[0-9]+\] ?`)
	marker = regexp.MustCompile(`^boottest: (.*): exit ([0-9]+)$`)
)

// Results takes a console apart into the commands that ran, in order. It fails
// the test when the init did not come to the end of its commands.
func Results(t testing.TB, console string) []Result {
	t.Helper()
	var results []Result
	var output strings.Builder
	done := false
	for line := range strings.Lines(console) {
		line = stamp.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
		switch m := marker.FindStringSubmatch(line); {
		case line == "boottest: start":
			output.Reset() // the boot is nobody's output
		case line == "boottest: done":
			done = true
		case m != nil:
			exit, _ := strconv.Atoi(m[2])
			results = append(results, Result{m[1], exit, output.String()})
			output.Reset()
		default:
			output.WriteString(line + "\n")
		}
	}
	if !done {
		t.Fatalf("the init did not finish; the console:\n%s", console)
	}
	return results
}
