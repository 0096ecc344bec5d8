package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kstage/kstage/depmod/preflight"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// explainer is one run of kstage explain.
type explainer struct {
	*checker
	modules []string

	results map[string]checked // by the module's name
}

// checked is a module that was checked, and for which kernel.
type checked struct {
	result preflight.Result
	side   *kernelSide
}

// A said message is one that a log has, once or more.
type said struct {
	preflight.Explanation
	line    int // the first
	count   int
	symbols []string // that differ in it
	about   string   // the module, also where only another message names it
	reason  *said    // what the kernel itself says, of a tool's message
}

// Limits of a log.
const (
	maxLogLine = 64 << 10 // the rest of a longer line is passed over
	maxSaid    = 1000     // different messages, and symbols of one
	maxSymbols = 8        // that are printed of one message
)

func newExplain(u *ui) *cobra.Command {
	x := &explainer{checker: &checker{ui: u}}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "explain [--kernel IMAGE] [--module FILE.ko|ROOT]... [FILE|-]",
		Short:                 "Explain what dmesg or a boot log says about kernel modules",
		Long: `Read a kernel's log, or what modprobe and insmod printed, and explain each message of
the module loader once: what it means, the likely causes in order, and what to do.
FILE is the output of dmesg, a boot log from a serial console or a journal; - and no
FILE are standard input.

With the kernel and the modules at hand, the messages about them are checked as kstage
check does, and the cause that it is, is shown.`,
		Example: `  ssh board dmesg | kstage explain
  kstage explain boot.log
  kstage explain boot.log --kernel Image --module hello.ko`,
		Args: operands(cobra.MaximumNArgs(1), ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return x.run(cmd.Context(), append(args, "-")[0])
		},
	}
	flags := cmd.Flags()
	x.kernel.add(flags)
	flags.StringVar(&x.check.Cmdline, "cmdline", "", "the kernel's command line, `TEXT`")
	flags.StringArrayVar(&x.modules, "module", nil, "a module, `FILE.ko`, or a ROOT or IMAGE with modules, that the log is about; may be given again")
	flags.StringArrayVar(&x.loadedNames, "loaded", nil, "a module, `FILE.ko`, that was in the kernel before")
	x.maxSize.add(flags)
	u.jsonFlag(cmd)
	flags.Lookup("json").Usage = "print one JSON object a line for each message, on standard output"
	return cmd
}

func (x *explainer) run(ctx context.Context, name string) error {
	side, err := x.kernel.alone()
	if err != nil {
		return err
	}
	x.named = side
	messages, lines, err := x.read(ctx, name)
	if err != nil {
		return err
	}
	reasons(messages)
	if len(messages) > 0 {
		if err := x.checkModules(ctx); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(x.out)
	for i, m := range messages {
		if x.json {
			err = x.writeJSON(w, m)
		} else {
			if i > 0 {
				fmt.Fprintln(w)
			}
			x.write(w, m)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(messages) == 0 {
		x.say("%s: none of the %s is of the module loader", shownName(name), count(lines, "line", "lines"))
		return nil
	}
	x.say("%s: %s of the module loader in %s", shownName(name), count(len(messages), "message", "different messages"), count(lines, "line", "lines"))
	return nil
}

// read finds the loader's messages in a log, in their order.
func (x *explainer) read(ctx context.Context, name string) (messages []*said, lines int, err error) {
	f := os.Stdin
	if name != "-" {
		if f, err = os.Open(name); err != nil {
			return nil, 0, openError(name, err)
		}
		defer f.Close()
	} else if term.IsTerminal(int(f.Fd())) {
		return nil, 0, withHint(errors.New("standard input is a terminal, not a log"), "kstage explain FILE, or dmesg | kstage explain")
	}
	r := bufio.NewReaderSize(interruptible(ctx, f), maxLogLine)
	known := make(map[string]*said)
	for {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return nil, 0, fmt.Errorf("%s: %w", shownName(name), err)
		}
		if line != "" {
			lines++ // the last one may end without a newline
		}
		if e, ok := preflight.Explain(line, x.named.facts.Machine); ok {
			messages = note(messages, known, e, lines)
		}
		if err == io.EOF {
			return messages, lines, nil
		}
	}
}

// readLine reads a line; what is too long is passed over.
func readLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	line := string(b)
	for err == bufio.ErrBufferFull {
		_, err = r.ReadSlice('\n')
	}
	return line, err
}

// address matches what differs in a message from boot to boot.
var address = lazyregexp.New(`\b(0x)?[0-9a-f]{8,16}\b|\(____ptrval____\)`)

// note counts a message. Those that differ in the symbol alone are one.
func note(all []*said, known map[string]*said, e preflight.Explanation, line int) []*said {
	key := address().ReplaceAllString(e.Text, "ADDRESS")
	if e.Symbol != "" {
		key = strings.Replace(key, e.Symbol, "SYMBOL", 1)
	}
	key = strings.ToLower(key)
	m := known[key]
	if m == nil {
		if len(all) == maxSaid {
			return all
		}
		m = &said{Explanation: e, line: line}
		known[key] = m
		all = append(all, m)
	}
	m.count++
	if e.Symbol != "" && !slices.Contains(m.symbols, e.Symbol) && len(m.symbols) < maxSaid {
		m.symbols = append(m.symbols, e.Symbol)
	}
	return all
}

// reasons finds for what a tool said the message of the kernel behind it. Some of the
// kernel's do not name the module, which the tool does.
func reasons(messages []*said) {
	for i, m := range messages {
		m.about = m.Module
		for _, tool := range messages[i:] {
			if m.about == "" && tool.Tool && tool.Errno == m.Errno {
				m.about = tool.Module
			}
		}
	}
	for _, m := range messages {
		for _, other := range messages {
			if m.Tool && !other.Tool && other.Errno == m.Errno && other.about == m.Module {
				m.reason = other
			}
		}
	}
}

// checkOf gives the check of the module that a message is about: the only one, when
// nothing tells.
func (x *explainer) checkOf(m *said) (c checked, ok bool) {
	if m.about == "" && len(x.results) == 1 {
		for _, only := range x.results {
			return only, true
		}
	}
	c, ok = x.results[m.about]
	return c, ok
}

// checkModules checks what --module names.
func (x *explainer) checkModules(ctx context.Context) error {
	x.results = make(map[string]checked)
	x.take = func(results []preflight.Result, side *kernelSide) error {
		for _, r := range results {
			x.results[r.Module] = checked{r, side}
		}
		return nil
	}
	return x.operands(ctx, x.modules)
}

// write prints a message for people.
func (x *explainer) write(w io.Writer, m *said) {
	times := ""
	if m.count > 1 {
		times = fmt.Sprintf("  (%d times, first in line %d)", m.count, m.line)
	}
	fmt.Fprintf(w, "%s%s\n", harmless(m.Text), times)
	if len(m.symbols) > 1 {
		shown := m.symbols[:min(len(m.symbols), maxSymbols)]
		more := ""
		if n := len(m.symbols) - len(shown); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(w, "  symbols: %s%s\n", harmless(strings.Join(shown, ", ")), more)
	}
	fmt.Fprintf(w, "  it means: %s\n", m.Meaning)
	for _, text := range m.Decoded {
		fmt.Fprintf(w, "    %s\n", text)
	}
	if m.reason != nil {
		fmt.Fprintf(w, "  the reason: %s\n", harmless(m.reason.Text))
		return
	}
	found := x.writeChecked(w, m)
	switch {
	case len(m.Causes) == 0:
		return
	case len(m.Causes) == 1 && m.Causes[0].Text == m.Meaning:
		fmt.Fprintf(w, "  do: %s\n", m.Causes[0].Cure)
		return
	}
	fmt.Fprintln(w, "  likely causes:")
	for i, c := range m.Causes {
		mark := ""
		if m.proved(c, found) {
			mark = "  <- this one"
		}
		fmt.Fprintf(w, "    %d. %s%s\n", i+1, c.Text, mark)
		if c.Cure != "" {
			fmt.Fprintf(w, "       do: %s\n", c.Cure)
		}
	}
}

// writeChecked prints what the check of the module has found, and returns it.
func (x *explainer) writeChecked(w io.Writer, m *said) []*preflight.Finding {
	c, ok := x.checkOf(m)
	if !ok {
		return nil
	}
	findings, hint := m.provedBy(c.result), ""
	for _, f := range findings {
		fmt.Fprintf(w, "  it is: %s: %s\n", harmless(c.result.Path), harmless(findingWhere(f)))
		if f.Hint != hint {
			hint = f.Hint
			fmt.Fprintf(w, "    do: %s\n", harmless(hint))
		}
	}
	switch {
	case len(findings) > 0:
	case c.result.Verdict == preflight.Loads:
		fmt.Fprintf(w, "  checked: %s would load%s: the log is about another file, or another kernel\n", harmless(c.result.Path), c.side.on())
	default:
		fmt.Fprintf(w, "  checked: %s: nothing that explains this message was found\n", harmless(c.result.Path))
	}
	return findings
}

// proved tells whether findings have shown that it is this cause. Where a rule stands
// for several, what is to be done tells them apart.
func (m *said) proved(c preflight.Cause, findings []*preflight.Finding) bool {
	same := func(f *preflight.Finding) bool { return c.Rule != "" && f.Rule == c.Rule }
	if !slices.ContainsFunc(findings, same) {
		return false
	}
	cured := func(c preflight.Cause) bool {
		return slices.ContainsFunc(findings, func(f *preflight.Finding) bool { return f.Rule == c.Rule && f.Hint == c.Cure })
	}
	return cured(c) || !slices.ContainsFunc(m.Causes, cured)
}

// provedBy gives the findings of a module's check that explain the message.
func (m *said) provedBy(r preflight.Result) []*preflight.Finding {
	var all []*preflight.Finding
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity < preflight.Warn && m.Errno != 0 {
			continue
		}
		if f.Symbol != "" && len(m.symbols) > 0 && !slices.Contains(m.symbols, f.Symbol) {
			continue
		}
		byCause := slices.ContainsFunc(m.Causes, func(c preflight.Cause) bool { return c.Rule != "" && c.Rule == f.Rule })
		if (byCause || m.Rule != "" && m.Rule == f.Rule) && len(all) < maxAlike {
			all = append(all, f)
		}
	}
	return all
}

// saidJSON is a message in JSON, one object a line; members are only ever added.
type saidJSON struct {
	Text     string                 `json:"text"`
	Line     int                    `json:"line"` // the first, empty ones counted
	Count    int                    `json:"count"`
	Module   string                 `json:"module,omitempty"`
	Symbols  []string               `json:"symbols,omitempty"`
	Rule     preflight.Rule         `json:"rule,omitempty"`
	Reason   string                 `json:"reason,omitempty"` // the kernel's message behind that of a tool
	Errno    preflight.Errno        `json:"errno"`            // 0 when the module loads all the same, or the text does not tell
	Meaning  string                 `json:"meaning"`
	Decoded  []string               `json:"decoded,omitempty"`
	Causes   []causeJSON            `json:"causes"`
	Path     string                 `json:"path,omitempty"`     // of the module that was checked
	Verdict  *preflight.Verdict     `json:"verdict,omitempty"`  // and what becomes of it
	Findings []preflightFindingJSON `json:"findings,omitempty"` // those that explain the message
}

type causeJSON struct {
	Rule  preflight.Rule `json:"rule,omitempty"`
	Text  string         `json:"text"`
	Cure  string         `json:"cure,omitempty"`
	Found bool           `json:"found"` // by the check of the module
}

func (x *explainer) writeJSON(w io.Writer, m *said) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(x.inJSON(m))
}

func (x *explainer) inJSON(m *said) saidJSON {
	j := saidJSON{Text: m.Text, Line: m.line, Count: m.count, Module: m.Module, Symbols: m.symbols, Rule: m.Rule, Errno: m.Errno,
		Meaning: m.Meaning, Decoded: m.Decoded, Causes: []causeJSON{}}
	if m.reason != nil {
		j.Reason = m.reason.Text
	}
	var found []*preflight.Finding
	if c, ok := x.checkOf(m); ok {
		j.Path, j.Verdict = c.result.Path, &c.result.Verdict
		found = m.provedBy(c.result)
		for _, f := range found {
			j.Findings = append(j.Findings, newFindingJSON(f))
		}
	}
	for _, c := range m.Causes {
		j.Causes = append(j.Causes, causeJSON{c.Rule, c.Text, c.Cure, m.proved(c, found)})
	}
	return j
}
