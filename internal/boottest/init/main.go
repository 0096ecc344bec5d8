//go:build linux

// Command init is the first program of a test image. It mounts proc, sysfs and
// devtmpfs, carries out the commands of /etc/boottest, and powers the machine off.
//
// /etc/boottest holds one command a line: words between blanks, no quoting;
// empty lines and lines that begin with # are passed over. The first word is a
// program, looked up in the usual four directories, or one of the verbs in
// verbs.go. After each command comes the line
//
//	boottest: COMMAND: exit N
//
// before the first one "boottest: start", after the last one "boottest: done". N is the program's exit status, 127
// when it cannot be started, 128 plus the number of the signal that ended it,
// and for a verb what its comment says.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	setUp()
	log := openLog()
	log.printf("boottest: start")
	script, err := os.ReadFile("/etc/boottest")
	if err != nil {
		log.printf("boottest: %v", err)
	}
	for line := range strings.Lines(string(script)) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		exit := run(log, words)
		log.printf("boottest: %s: exit %d", strings.Join(words, " "), exit)
	}
	log.printf("boottest: done")
	unix.Sync()
	err = unix.Reboot(ending())
	log.printf("boottest: power off: %v", err)
}

// ending is how the machine ends. One that cannot power itself off is started with
// boottest.restart, and by a qemu that ends instead of starting it again.
func ending() int {
	if cmdline, _ := os.ReadFile("/proc/cmdline"); strings.Contains(string(cmdline), "boottest.restart") {
		return unix.LINUX_REBOOT_CMD_RESTART
	}
	return unix.LINUX_REBOOT_CMD_POWER_OFF
}

// setUp mounts what nearly every program expects. A mount that fails shows in
// the commands that need it.
func setUp() {
	for _, m := range [...]struct{ fstype, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"},
	} {
		_ = os.Mkdir(m.dir, 0o755)
		if err := unix.Mount(m.fstype, m.dir, m.fstype, 0, ""); err != nil {
			fmt.Fprintf(os.Stderr, "boottest: mount %s: %v\n", m.dir, err)
		}
	}
	// Without this the kernel drops lines beyond ten in five seconds.
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0)
	_ = os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}

// run carries out one command and returns what stands after "exit".
func run(log logger, words []string) int {
	if verb, ok := verbs[words[0]]; ok {
		return verb(log, words[1:])
	}
	return start(log, words)
}

// start runs a program with its output in the log.
func start(log logger, words []string) int {
	r, w, err := os.Pipe()
	if err != nil {
		log.printf("%v", err)
		return 127
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err == nil {
		log.copy(r)
		err = cmd.Wait()
	}
	_ = r.Close()
	return status(log, err)
}

func status(log logger, err error) int {
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return 0
	case !ended:
		log.printf("%v", err)
		return 127
	case exit.ExitCode() < 0:
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	default:
		return exit.ExitCode()
	}
}

// logger writes whole lines into the kernel's own log, so that they stand on
// the console in one order with what the kernel says, never in the middle of
// one of its lines.
type logger struct{ io.Writer }

func openLog() logger {
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		return logger{f}
	}
	return logger{os.Stderr}
}

// A record of the kernel log takes about 1000 bytes; longer lines are broken.
const longest = 900

func (l logger) printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for len(text) > longest {
		l.record(text[:longest])
		text = text[longest:]
	}
	l.record(text)
}

// record writes one line. <1> is the level "alert", which the console shows
// even to a kernel booted with "quiet".
func (l logger) record(line string) {
	_, _ = io.WriteString(l, "<1>"+line+"\n")
}

// copy logs each line of r.
func (l logger) copy(r io.Reader) {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if line != "" {
			l.printf("%s", strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}
