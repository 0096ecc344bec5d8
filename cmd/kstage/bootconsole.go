package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kstage/kstage/depmod/preflight"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// lastLines is how many lines of a console are shown when it did not go well.
const lastLines = 20

// Why a machine was stopped.
var (
	errExpected    = errors.New("the text came")
	errPanic       = errors.New("the kernel panicked")
	errTimeout     = errors.New("the time is over")
	errQuit        = errors.New("ended by the user")
	errInterrupted = errors.New("interrupted")
)

// A console takes what a machine prints. All that is kept of it is bounded.
type console struct {
	expect string            // stop when it stands in a line
	show   io.Writer         // where it is shown, nil for nowhere
	stop   func(cause error) // ends the machine, at once or, after a panic, soon

	mu       sync.Mutex
	wrote    time.Time // when there was something last
	line     []byte    // the last one, without its end
	last     []string  // before it
	lines    int
	met      string // the line with the text
	panicked string // what the kernel said
	spoke    bool   // there was a line of the kernel
	messages []*said
	known    map[string]*said
}

func (c *console) Write(p []byte) (int, error) {
	if c.show != nil {
		if _, err := c.show.Write(p); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote = time.Now()
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte{'\n'})
		rest = after
		c.line = append(c.line, part...)
		if c.expect != "" && c.met == "" && c.expected() {
			c.met = shownLine(c.line)
			c.stop(errExpected)
		}
		if ended || len(c.line) > maxLogLine {
			c.endLine()
		}
	}
	return len(p), nil
}

// escapes are what a terminal is told about colours and the like.
var escapes = lazyregexp.New("\x1b(\\[[0-9;?]*[a-zA-Z]|[78=>])")

// expected tells whether the text stands in the last line, which a prompt does not end.
// The kernel repeats its command line, where the text may stand as well.
func (c *console) expected() bool {
	if bytes.Contains(c.line, []byte("ernel command line")) {
		return false
	}
	return bytes.Contains(c.line, []byte(c.expect)) ||
		bytes.IndexByte(c.line, 0x1b) >= 0 && bytes.Contains(escapes().ReplaceAll(c.line, nil), []byte(c.expect))
}

func shownLine(line []byte) string {
	return strings.TrimRight(string(escapes().ReplaceAll(line, nil)), "\r")
}

var (
	// stamp is what the kernel begins its lines with (CONFIG_PRINTK_TIME).
	stamp     = lazyregexp.New(`^\[ *[0-9]+\.[0-9]+\]|^Linux version `)
	panicLine = lazyregexp.New(`(?:^|\] )Kernel panic - not syncing: ?(.*)`)
)

func (c *console) endLine() {
	line := shownLine(c.line)
	c.line = c.line[:0]
	c.lines++
	if len(c.last) == lastLines {
		c.last = append(c.last[:0], c.last[1:]...)
	}
	c.last = append(c.last, line)
	c.spoke = c.spoke || stamp().MatchString(line)
	if e, ok := preflight.Explain(line, elf.EM_RISCV); ok {
		c.messages = note(c.messages, c.known, e, c.lines)
	}
	if m := panicLine().FindStringSubmatch(line); m != nil && c.panicked == "" {
		c.panicked = m[1]
		c.stop(errPanic)
	}
}

// finish takes what is left at the end of the machine.
func (c *console) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.line) > 0 {
		c.endLine()
	}
	reasons(c.messages)
}

// panicMeanings explain what the kernel says in a panic that an image is to blame for
// (kernel_init in init/main.c, mount_root_generic in init/do_mounts.c, do_exit in
// kernel/exit.c, out_of_memory in mm/oom_kill.c).
var panicMeanings = []struct{ text, meaning string }{
	{"VFS: Unable to mount root fs", "the image has no /init, or not the program that rdinit= names, and there was no other root file system; kstage ls and kstage verify tell what is in the image"},
	{"No working init found", "none of the programs it tried could be started: /init must be a riscv64 program, or a script whose interpreter is in the image, and so must be the dynamic loader and the libraries it needs"},
	{"Requested init", "the program that init= or rdinit= names could not be started"},
	{"Attempted to kill init!", "the first program has ended or crashed, and it must not; exitcode=0x00000100 is exit status 1, 0x0000000b the signal 11"},
	{"System is deadlocked on memory", "the memory does not suffice: --memory gives the machine more"},
	{"Out of memory", "the memory does not suffice: --memory gives the machine more"},
}

func panicMeaning(text string) string {
	for _, p := range panicMeanings {
		if strings.Contains(text, p.text) {
			return p.meaning
		}
	}
	return ""
}
