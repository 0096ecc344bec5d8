//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The qemu of these tests is a script that stays until it is stopped.
const stayingQEMU = "#!/bin/sh\necho $$ >\"$TMPDIR/pid\"\necho board login:\nexec sleep 60\n"

// bootStaying is a call of kstage boot with it, and the directory for temporary files.
func bootStaying(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, tmp := t.TempDir(), t.TempDir()
	script(t, filepath.Join(dir, qemuName), stayingQEMU)
	header, err := kernelHeader("Image", "riscv64")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "root/boot/Image", header)
	script(t, filepath.Join(dir, "root/init"), "#!/bin/sh\n")
	cmd = exec.Command(path, append([]string{"boot", filepath.Join(dir, "root")}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TMPDIR="+tmp)
	return cmd, tmp
}

// wantStopped waits for the end with a status, and wants neither machine nor files left.
func wantStopped(t *testing.T, cmd *exec.Cmd, tmp string, status int) {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if got := 0; errors.As(err, &exit) {
		got = exit.ExitCode()
		if got != status {
			t.Errorf("exit status %d, not %d", got, status)
		}
	} else if err != nil || status != 0 {
		t.Errorf("%v, not exit status %d", err, status)
	}
	text, err := os.ReadFile(filepath.Join(tmp, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the machine still runs: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "kstage-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func waitForFile(t *testing.T, name string) {
	t.Helper()
	for range 3000 {
		if text, err := os.ReadFile(name); err == nil && strings.HasSuffix(string(text), "\n") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s does not come", name)
}

func TestBootInterrupted(t *testing.T) {
	cmd, tmp := bootStaying(t, "--expect", "never")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForFile(t, filepath.Join(tmp, "pid"))
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	wantStopped(t, cmd, tmp, exitInterrupted)
	if !strings.HasSuffix(stderr.String(), "error: interrupted, the machine was stopped\n") {
		t.Errorf("it says %q", &stderr)
	}
}

// TestBootHangup: the terminal is closed, or who reads the console has gone.
func TestBootHangup(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // under nohup what is started here would ignore it, too
	defer signal.Stop(hangups)
	t.Run("hangup", func(t *testing.T) {
		cmd, tmp := bootStaying(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitForFile(t, filepath.Join(tmp, "pid"))
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		wantStopped(t, cmd, tmp, exitInterrupted)
	})
	t.Run("pipe", func(t *testing.T) {
		cmd, tmp := bootStaying(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		err = errors.Join(cmd.Start(), w.Close(), r.Close())
		if err != nil {
			t.Fatal(err)
		}
		wantStopped(t, cmd, tmp, exitInterrupted)
	})
}

// TestBootTerminal: what ends a machine at a terminal leaves the terminal as it was.
func TestBootTerminal(t *testing.T) {
	for name, tt := range map[string]struct {
		typed  string
		status int
	}{"Ctrl-C": {"ls\r\x03", exitInterrupted}, "Ctrl-A x": {"\x01x", exitOK}} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := openTerminal(t)
			before, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			cmd, tmp := bootStaying(t)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var seen strings.Builder
			for buf := make([]byte, 256); !strings.Contains(seen.String(), "board login:"); {
				n, err := ours.Read(buf)
				if err != nil {
					t.Fatalf("%v after %q", err, &seen)
				}
				seen.Write(buf[:n])
			}
			during, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
			if err != nil || during.Lflag&unix.ICANON != 0 {
				t.Errorf("keys are not handed on one by one: %v", err)
			}
			if _, err := ours.WriteString(tt.typed); err != nil {
				t.Fatal(err)
			}
			wantStopped(t, cmd, tmp, tt.status)
			after, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("the terminal is %+v, it was %+v: %v", after, before, err)
			}
			if !strings.Contains(seen.String(), "Ctrl-A x or Ctrl-C ends the machine") {
				t.Errorf("it says %q", &seen)
			}
		})
	}
}

// openTerminal gives both ends of one.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}
