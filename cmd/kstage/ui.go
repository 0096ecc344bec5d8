package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kstage/kstage/depmod"
)

// ui is the voice of the program: data goes to out, words for people to err.
type ui struct {
	out, err io.Writer
	color    bool // err is a terminal that wants colour
	live     bool // err is a terminal, so progress may be shown
	json     bool // findings go into the JSON report on out, not to err

	begun string // what an interrupt leaves behind, if it is not nothing

	mu       sync.Mutex
	started  time.Time
	drawn    time.Time
	progress bool // a progress line stands on the terminal
}

func newUI(out, err io.Writer) *ui {
	f, ok := err.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	return &ui{out: out, err: err, live: live, color: live && os.Getenv("NO_COLOR") == "", started: time.Now()}
}

// jsonFlag adds --json to a command.
func (u *ui) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&u.json, "json", false, "print a JSON report on standard output instead of words on standard error")
}

var colours = map[string]string{"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m", "hint": "\x1b[2m"}

// line prints "LABEL: text" for people.
func (u *ui) line(label, format string, args ...any) {
	u.endProgress()
	text := harmless(fmt.Sprintf(format, args...))
	// a text of several lines is set in, so that it reads as one finding
	text = strings.ReplaceAll(text, "\n", "\n    ")
	if u.color {
		label = colours[label] + label + "\x1b[0m"
	}
	fmt.Fprintf(u.err, "%s: %s\n", label, text)
}

// say prints a line of a summary.
func (u *ui) say(format string, args ...any) {
	if u.json {
		return
	}
	u.endProgress()
	fmt.Fprintf(u.err, format+"\n", args...)
}

func (u *ui) hint(text string) {
	if text == "" {
		return
	}
	text = harmless(text)
	if u.color {
		fmt.Fprintf(u.err, "  %shint: %s\x1b[0m\n", colours["hint"], text)
		return
	}
	fmt.Fprintf(u.err, "  hint: %s\n", text)
}

// error prints what stopped the work, and the way out if the error knows one.
func (u *ui) error(err error) {
	u.line("error", "%v", err)
	var h *hinted
	if errors.As(err, &h) {
		u.hint(h.hint)
	}
}

// maxAlike is how many findings of one rule are printed; the rest is counted.
const maxAlike = 10

// problems prints findings, unless they go into a JSON report; prefix is what comes
// before the path of one. The hint of a rule is given once, behind the last finding
// that has it.
func (u *ui) problems(prefix string, problems []depmod.Problem) {
	if u.json {
		return
	}
	alike := make(map[string]int)
	for i, p := range problems {
		if alike[p.Rule]++; alike[p.Rule] > maxAlike {
			continue
		}
		label := p.Severity.String()
		if p.Severity == depmod.Info {
			label = "note"
		}
		if p.Path != "" {
			p.Path = prefix + p.Path
		}
		u.line(label, "%v", p)
		if i+1 == len(problems) || problems[i+1].Hint != p.Hint {
			u.hint(p.Hint)
		}
	}
	for _, p := range problems {
		if n := alike[p.Rule]; n > maxAlike {
			u.line("note", "%d more findings like these (%s); --json lists all", n-maxAlike, p.Rule)
			alike[p.Rule] = 0
		}
	}
}

// step shows progress on a terminal, once the work takes more than a second.
func (u *ui) step(what string) func(done, total int) {
	if !u.live || u.json {
		return nil
	}
	return func(done, total int) {
		u.mu.Lock()
		defer u.mu.Unlock()
		now := time.Now()
		if now.Sub(u.started) < time.Second || now.Sub(u.drawn) < 100*time.Millisecond {
			return
		}
		u.drawn, u.progress = now, true
		fmt.Fprintf(u.err, "\r\x1b[K%s %d/%d", what, done, total)
	}
}

func (u *ui) endProgress() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.progress {
		fmt.Fprint(u.err, "\r\x1b[K")
		u.progress = false
	}
}

// report prints v as one JSON object when --json is given.
func (u *ui) report(v any) error {
	if !u.json {
		return nil
	}
	enc := json.NewEncoder(u.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// hinted is an error with a way out.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return &hinted{err, hint}
}

// size words a number of bytes for people: 1.2 MiB.
func size(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// count words a number of things: "1 module", "2 modules".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
