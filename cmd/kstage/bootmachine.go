package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// panicGrace is how long a machine may go on after a panic, to say what it has to.
const panicGrace = time.Second

// A guest is one run of qemu.
type guest struct {
	qemu    string
	args    []string
	timeout time.Duration // 0: none
	stdin   *os.File      // nil: none
}

// run runs it until it ends or is stopped. The cause is one of the errors of
// [console], the context's, or nil when the machine went off by itself.
func (m *guest) run(ctx context.Context, c *console) (cause, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.stop = func(cause error) {
		if cause == errPanic {
			time.AfterFunc(panicGrace, func() { cancel(cause) })
			return
		}
		cancel(cause)
	}
	if m.timeout > 0 {
		defer time.AfterFunc(m.timeout, func() { cancel(errTimeout) }).Stop()
	}
	var said tail
	cmd := exec.CommandContext(ctx, m.qemu, m.args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c, &said, time.Second
	restore, err := m.keyboard(cmd, cancel)
	if err != nil {
		return nil, err
	}
	err = cmd.Run()
	restore()
	c.finish()
	switch cause = context.Cause(ctx); {
	case cause != nil:
		return cause, nil
	case c.panicked != "":
		return errPanic, nil
	case err != nil:
		return nil, qemuError(err, said.String())
	}
	return nil, nil
}

// keyboard gives the machine what is typed. The terminal is ours and not qemu's, so
// that it is put back whatever becomes of qemu.
func (m *guest) keyboard(cmd *exec.Cmd, stop context.CancelCauseFunc) (restore func(), err error) {
	restore = func() {}
	if m.stdin == nil {
		return restore, nil
	}
	w, err := cmd.StdinPipe()
	if err != nil {
		return restore, err
	}
	var k *keys
	if fd := int(m.stdin.Fd()); term.IsTerminal(fd) {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return restore, fmt.Errorf("terminal: %w", err)
		}
		restore = func() { _ = term.Restore(fd, before) } // as good as it goes
		k = new(keys)
	}
	go func() { // ends with the program, if nothing more is typed
		defer w.Close()
		if end := relay(w, m.stdin, k); end != nil {
			stop(end)
		}
	}()
	return restore, nil
}

// relay hands on what is typed until a key ends the machine. The end of the input
// does not: a pipe may be shorter than the boot.
func relay(w io.Writer, r io.Reader, k *keys) error {
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		typed, end := buf[:n], error(nil)
		if k != nil {
			typed, end = k.take(typed)
		}
		if end != nil {
			return end
		}
		if _, werr := w.Write(typed); err != nil || werr != nil {
			return nil
		}
	}
}

// keys finds the keys that are not for the machine: Ctrl-C, and what follows Ctrl-A,
// as in qemu itself.
type keys struct{ escaped bool }

const (
	ctrlA = 1
	ctrlC = 3
)

// take gives what goes to the machine, and why it is to end.
func (k *keys) take(typed []byte) (send []byte, end error) {
	for _, b := range typed {
		switch {
		case k.escaped && (b == 'x' || b == 'X'):
			return nil, errQuit
		case k.escaped:
			send, k.escaped = append(send, b), false
		case b == ctrlA:
			k.escaped = true
		case b == ctrlC:
			return nil, errInterrupted
		default:
			send = append(send, b)
		}
	}
	return send, nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }

// untilHangup is a context that ends with the terminal, and with who reads the console:
// nobody could end the machine then.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, signals...)
}

// start boots the machine and tells how it ended.
func (b *booter) start(ctx context.Context, image string) error {
	m := guest{qemu: b.qemu, args: b.args(image), timeout: b.timeout}
	c := &console{expect: b.expect, known: make(map[string]*said), wrote: time.Now()}
	b.say("booting %s with %s of memory, kernel %s (%s)", b.operand, size(int64(b.memory)), b.booted.name, b.booted.format)
	if b.expect == "" {
		m.stdin, c.show = os.Stdin, b.out
		if term.IsTerminal(int(os.Stdin.Fd())) {
			b.say("Ctrl-A x or Ctrl-C ends the machine, Ctrl-A Ctrl-C sends it a Ctrl-C")
		}
	}
	b.begun = "the machine was stopped"
	ctx, done := untilHangup(ctx)
	defer done()
	began := time.Now()
	cause, err := m.run(ctx, c)
	took := time.Since(began)
	switch {
	case err != nil:
		return err
	case errors.Is(cause, errInterrupted), ctx.Err() != nil:
		return errInterrupted
	}
	return b.outcome(bootOutcome{console: c, cause: cause, took: took, silent: time.Since(c.wrote), args: m.args})
}
