package boottest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
)

// UBoot is a machine like [Machine] whose firmware loads U-Boot, with files in
// its memory as if U-Boot had loaded them from a disk.
type UBoot struct {
	Kernel   string        // path of the kernel image at KernelAddr; default: the lab's Debian kernel
	Image    string        // path of the image at ImageAddr
	Command  string        // what to type at U-Boot's prompt; bootargs is set
	Timeout  time.Duration // after which the machine is stopped and the test failed; default three minutes
	firmware string
}

// Where the files lie, as U-Boot's commands take it; $fdtcontroladdr is where
// the machine's device tree is.
const (
	KernelAddr = "84000000"
	ImageAddr  = "88000000"
)

// RunUBoot boots u with Debian's u-boot-qemu, waits until the machine powers off
// or panics, and returns everything it printed, as [Run] does. It fails the test
// when U-Boot comes back to its prompt after the command.
func RunUBoot(t testing.TB, u UBoot) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-riscv64")
	if err != nil {
		skip(t, "qemu-system-riscv64 is not installed")
	}
	if u.firmware = "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"; !exists(u.firmware) {
		skip(t, "u-boot-qemu is not installed")
	}
	if u.Kernel == "" {
		u.Kernel = filepath.Join(kotest.Lab(t), "vmlinux")
	}
	if u.Timeout == 0 {
		u.Timeout = defaultTimeout
	}
	return retry(t, func() (string, error) { return u.boot(t, qemu, silence) })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (u UBoot) boot(t testing.TB, qemu string, silence time.Duration) (string, error) {
	return start(t, u.Timeout, silence, func(ctx context.Context, stop context.CancelCauseFunc, out *console) error {
		cmd := exec.CommandContext(ctx, qemu, u.args()...)
		cmd.Stdout, cmd.Stderr = out, out
		keys, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { stop(u.talk(ctx, keys, out)) }()
		return cmd.Wait()
	})
}

func (u UBoot) args() []string {
	at := func(addr, file string) string {
		return fmt.Sprintf("loader,addr=0x%s,force-raw=on,file=%s", addr, comma(file))
	}
	return []string{
		"-M", "virt", "-m", defaultMemory, "-nographic", "-no-reboot", "-kernel", u.firmware,
		"-device", at(KernelAddr, u.Kernel), "-device", at(ImageAddr, u.Image),
	}
}

const prompt = "\n=> "

var errPrompt = errors.New("U-Boot did not carry out the command")

// talk types the commands, and watches for a prompt where there should be none.
// It returns nil when the machine is gone.
func (u UBoot) talk(ctx context.Context, keys io.Writer, out *console) error {
	dialogue := [...]struct{ wait, key string }{
		{"Hit any key to stop autoboot", " "},
		{prompt, "setenv bootargs " + bootargs + "\n"},
		{prompt, u.Command + "\n"},
	}
	seen := 0
	for _, step := range dialogue {
		end, ok := out.wait(ctx, seen, step.wait)
		if !ok {
			return nil
		}
		seen = end
		if _, err := io.WriteString(keys, step.key); err != nil {
			return fmt.Errorf("type %q: %w", step.key, err)
		}
	}
	if _, ok := out.wait(ctx, seen, prompt); ok {
		return errPrompt
	}
	return nil
}

// wait waits for text behind what has been seen, and returns where it ends.
func (c *console) wait(ctx context.Context, seen int, text string) (end int, ok bool) {
	for {
		all := c.String()
		if i := strings.Index(all[min(seen, len(all)):], text); i >= 0 {
			return seen + i + len(text), true
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
