// Package boottest boots initramfs images in qemu-system-riscv64 and returns
// what stood on the console. Only tests use it.
//
// A test fills a directory (AddInit, AddBusybox, AddKmod, AddModules), has it
// packed, boots the image with Run and looks at Results:
//
//	dir := t.TempDir()
//	boottest.AddInit(t, dir, "busybox modprobe ext4", "cat /proc/filesystems")
//	boottest.AddBusybox(t, dir)
//	boottest.AddModules(t, dir, "ext4")
//	// … index the modules, pack dir into image …
//	console := boottest.Run(t, boottest.Machine{Initrd: image})
//	for _, r := range boottest.Results(t, console) { … }
//
// What it needs and does not find (qemu, the lab of [kotest.Lab]) skips the test
// with one line, but fails it where CI is "true": there nothing may be missing.
package boottest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/kotest"
)

// Machine is a riscv64 machine with one hart: two take twice as long to boot. The
// zero value of each field but Initrd is useful.
type Machine struct {
	Kind    string        // qemu's name of it: virt (default) or sifive_u, SiFive's HiFive Unleashed
	Kernel  string        // path of the kernel image; default: the lab's Debian kernel
	Initrd  string        // path of the image to boot
	Append  string        // kernel parameters besides console=ttyS0 panic=-1
	Memory  string        // as qemu's -m takes it; default 512M
	Timeout time.Duration // after which the machine is stopped and the test failed; default three minutes
	Net     bool          // a virtio network card on the MMIO bus, and behind it a network of qemu's own
	Disk    string        // path of a raw image that becomes a virtio disk on the MMIO bus; never written to
}

// Run boots m, waits until it powers off or panics, and returns everything it
// printed, with \n at the end of lines. It fails the test, showing the console,
// when the machine does neither before the timeout.
func Run(t testing.TB, m Machine) string {
	t.Helper()
	qemu := NeedQEMU(t)
	if m.Kernel == "" {
		m.Kernel = filepath.Join(kotest.Lab(t), "vmlinux")
	}
	if m.Timeout == 0 {
		m.Timeout = defaultTimeout
	}
	return retry(t, func() (string, error) { return m.boot(t, qemu, silence) })
}

// NeedQEMU returns where qemu is.
func NeedQEMU(t testing.TB) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-riscv64")
	if err != nil {
		skip(t, "qemu-system-riscv64 is not installed")
	}
	return qemu
}

// retry boots up to three times, until the kernel speaks.
func retry(t testing.TB, boot func() (string, error)) string {
	t.Helper()
	console, err := boot()
	for tries := 1; tries < 3 && errors.Is(err, errSilent); tries++ {
		t.Log(err, "- once more")
		console, err = boot()
	}
	if err != nil {
		t.Fatalf("%v; the console:\n%s", err, console)
	}
	return console
}

// One boot in a hundred or so under qemu 7.2 hangs with the kernel in a page
// fault on its own stack, long before it can print. Its first lines come after
// two seconds, on a busy machine twenty.
const silence = time.Minute

var errSilent = errors.New("the kernel did not say a word")

// boot is one try. It ends with errSilent when no line of the kernel came within
// the time silence.
func (m Machine) boot(t testing.TB, qemu string, silence time.Duration) (string, error) {
	return start(t, m.Timeout, silence, func(ctx context.Context, _ context.CancelCauseFunc, out *console) error {
		cmd := exec.CommandContext(ctx, qemu, m.args()...)
		cmd.Stdout, cmd.Stderr = out, out
		return cmd.Run()
	})
}

// start has run start a machine and wait for its end, with a context that ends
// when one of the times is over or run stops it.
func start(t testing.TB, timeout, silence time.Duration,
	run func(ctx context.Context, stop context.CancelCauseFunc, out *console) error) (string, error) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var out console
	defer time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("still running after %v", timeout))
	}).Stop()
	defer time.AfterFunc(silence, func() {
		if !out.kernelSpoke() {
			cancel(errSilent)
		}
	}).Stop()
	err := run(ctx, cancel, &out)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return out.String(), err
}

const (
	defaultMemory  = "512M"
	defaultTimeout = 3 * time.Minute
	bootargs       = "console=ttyS0 panic=-1"
)

// kinds are what differs between the kinds of machines. The Unleashed has a hart
// of its own for other work, on which Linux cannot run; nothing that Linux knows
// powers it off.
var kinds = map[string]struct {
	harts, bootargs string
}{
	"":         {"1", bootargs},
	"sifive_u": {"2", "console=ttySIF0 panic=-1 boottest.restart"},
}

func (m Machine) args() []string {
	return append(m.hardware(""),
		"-no-reboot", "-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", strings.TrimSpace(kinds[m.Kind].bootargs+" "+m.Append))
}

// hardware is what tells qemu which machine to make; options go with its kind.
func (m Machine) hardware(options string) []string {
	args := []string{"-M", cmp.Or(m.Kind, "virt") + options,
		"-m", cmp.Or(m.Memory, defaultMemory), "-smp", kinds[m.Kind].harts, "-nographic"}
	if m.Net {
		args = append(args, "-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0")
	}
	if m.Disk != "" {
		args = append(args, "-drive", "if=none,id=d0,format=raw,snapshot=on,file="+comma(m.Disk),
			"-device", "virtio-blk-device,drive=d0")
	}
	return args
}

// DeviceTree writes the device tree that qemu makes for m to path.
func DeviceTree(t testing.TB, m Machine, path string) {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-riscv64")
	if err != nil {
		skip(t, "qemu-system-riscv64 is not installed")
	}
	out, err := exec.Command(qemu, m.hardware(",dumpdtb="+comma(path))...).CombinedOutput()
	if err != nil || !exists(path) {
		t.Fatalf("qemu: %v\n%s", err, out)
	}
}

// comma writes a path for an option: a comma in it would begin the next option,
// and qemu reads two as one.
func comma(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// console collects what a machine prints, while others look at it.
type console struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.buf.String(), "\r\n", "\n")
}

// kernelSpoke tells whether there is a line with the kernel's time stamp.
func (c *console) kernelSpoke() bool { return strings.Contains(c.String(), "\n[") }

// skip skips the test for want of something, or fails it where CI=true.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
