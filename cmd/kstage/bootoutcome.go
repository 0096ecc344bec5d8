package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// bootOutcome is how a machine ended.
type bootOutcome struct {
	*console
	cause  error // nil: it went off by itself
	took   time.Duration
	silent time.Duration // the console, at the end
	args   []string
}

// bootReport is what --json prints; members are only ever added.
type bootReport struct {
	Image    string          `json:"image"` // or directory
	Kernel   string          `json:"kernel"`
	Format   string          `json:"kernel_format"`
	Command  []string        `json:"command"` // the call of qemu; temporary files in it are gone
	Expect   string          `json:"expect"`
	Met      bool            `json:"met"`            // the text came
	Line     string          `json:"line,omitempty"` // in which it came
	Ended    string          `json:"ended"`          // expected, panic, off or timeout
	Panic    string          `json:"panic,omitempty"`
	Meaning  string          `json:"panic_meaning,omitempty"`
	Seconds  float64         `json:"seconds"`
	Lines    int             `json:"lines"`    // of the console
	Last     []string        `json:"last"`     // of them, 20 at most
	Messages []saidJSON      `json:"messages"` // of the module loader, as of kstage explain
	Verify   *verifyReport   `json:"verify,omitempty"`
	Packed   json.RawMessage `json:"packed,omitempty"` // the report of kstage pack, for a directory
}

// ended names the cause.
func (o *bootOutcome) ended() string {
	switch {
	case errors.Is(o.cause, errExpected):
		return "expected"
	case errors.Is(o.cause, errPanic):
		return "panic"
	case errors.Is(o.cause, errTimeout):
		return "timeout"
	}
	return "off"
}

// outcome tells how it went.
func (b *booter) outcome(o bootOutcome) error {
	verdict := errProblems
	if o.met != "" || b.expect == "" && !errors.Is(o.cause, errPanic) && !errors.Is(o.cause, errTimeout) {
		verdict = nil
	}
	if b.json {
		return errors.Join(b.report(b.reportOf(&o)), verdict)
	}
	if verdict != nil && b.expect != "" {
		b.tail(&o)
	}
	if err := b.explain(o.messages); err != nil {
		return err
	}
	b.summarize(&o)
	return verdict
}

func (b *booter) reportOf(o *bootOutcome) bootReport {
	r := bootReport{
		Image: b.operand, Kernel: b.booted.name, Format: b.booted.format, Command: append([]string{b.qemu}, o.args...),
		Expect: b.expect, Met: o.met != "", Line: o.met, Ended: o.ended(), Panic: o.panicked, Meaning: panicMeaning(o.panicked),
		Seconds: float64(o.took.Milliseconds()) / 1000, Lines: o.lines, Last: append([]string{}, o.last...), Messages: []saidJSON{}, Packed: b.packed,
	}
	if b.verified != nil {
		verified := verifyJSON(b.operand, b.verified)
		r.Verify = &verified
	}
	x := explainer{checker: &checker{ui: b.ui}}
	for _, m := range o.messages {
		r.Messages = append(r.Messages, x.inJSON(m))
	}
	return r
}

// tail shows the last lines of the console.
func (b *booter) tail(o *bootOutcome) {
	b.endProgress()
	if len(o.last) == 0 {
		return
	}
	fmt.Fprintf(b.err, "the last of %s of the console:\n", count(o.lines, "line", "lines"))
	for _, line := range o.last {
		fmt.Fprintf(b.err, "  | %s\n", harmless(line))
	}
}

// explain explains the loader's messages, as kstage explain does.
func (b *booter) explain(messages []*said) error {
	if len(messages) == 0 {
		return nil
	}
	w := bufio.NewWriter(b.err)
	x := explainer{checker: &checker{ui: b.ui}}
	fmt.Fprintf(w, "\n%s of the module loader:\n", count(len(messages), "message", "different messages"))
	for _, m := range messages {
		fmt.Fprintln(w)
		x.write(w, m)
	}
	_, err := io.WriteString(w, "\n")
	return errors.Join(err, w.Flush())
}

// summarize is the last line, about what there was to expect.
func (b *booter) summarize(o *bootOutcome) {
	after := fmt.Sprintf("after %.1f s", o.took.Seconds())
	missing := ""
	if b.expect != "" {
		missing = fmt.Sprintf(", and %q had not come", b.expect)
	}
	switch {
	case o.met != "":
		b.say("%s: %q came %s: %s", b.operand, b.expect, after, harmless(o.met))
	case o.ended() == "panic":
		b.line("error", "%s: the kernel panicked %s%s: %s", b.operand, after, missing, o.panicked)
		b.hint(panicMeaning(o.panicked))
	case o.ended() == "timeout":
		if o.silent > o.took/2 {
			missing += fmt.Sprintf("; the console was silent for the last %.0f s", o.silent.Seconds())
		}
		b.line("error", "%s: stopped %s%s", b.operand, after, missing)
		b.hint(b.whySlow(o))
	case b.expect != "":
		b.line("error", "%s: the machine went off %s%s", b.operand, after, missing)
	default:
		b.say("%s: the machine went off %s", b.operand, after)
	}
}

// whySlow tells what may be wrong when the time was over.
func (b *booter) whySlow(o *bootOutcome) string {
	if o.spoke && o.silent > o.took/2 {
		return "is the text right? --timeout gives it longer"
	}
	if o.spoke || parameter(b.cmdline, "console") || strings.Contains(" "+b.cmdline+" ", " quiet ") {
		return "--timeout gives it longer"
	}
	return "the kernel did not say a word: is it one for qemu's virt machine, with a driver for its serial port (CONFIG_SERIAL_8250, CONFIG_SERIAL_OF_PLATFORM)? --append earlycon=sbi shows more"
}
