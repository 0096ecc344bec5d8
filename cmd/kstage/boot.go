package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/initrd/uboot"
)

// booter is one run of kstage boot.
type booter struct {
	*ui
	kernel, dtb, disk string
	memory            byteSize
	cmdline           string
	expect            string
	timeout           time.Duration
	maxSize           maxSize

	operand  string
	dir      string // for temporary files
	qemu     string
	booted   bootKernel
	packed   json.RawMessage // what pack reports
	verified *initrd.Report
}

func newBoot(u *ui) *cobra.Command {
	b := &booter{ui: u, memory: 512 << 20}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "boot IMAGE|ROOT [--kernel FILE] [--expect TEXT]",
		Short:                 "Boot an initrd, or a directory, in a riscv64 machine of qemu",
		Long: `Boot an initrd in a riscv64 machine, by qemu-system-riscv64, with its console here. A
ROOT directory is packed first as kstage pack does, into a temporary file.

The kernel is what --kernel names, in any format that kstage knows; else it is looked
for in the tree, in boot/ and lib/modules/VERSION. The machine is qemu's "virt" with
one hart. Nothing that is named is changed, the disk neither: what the machine writes
to it is forgotten.

Keys go to the machine. Ctrl-A x and Ctrl-C end it; Ctrl-A before another key sends
that key, so Ctrl-A Ctrl-C is a Ctrl-C for the machine.

With --expect nobody needs to watch: the exit status is 0 as soon as the text has come
on the console, and 3 when the kernel panics, the machine goes off or the time is over
before. Then the last lines are shown. Messages of the module loader are explained as
kstage explain does.`,
		Example: `  kstage boot ./initrd-rv64
  kstage boot initrd.img --kernel ../linux/arch/riscv/boot/Image
  kstage boot ./initrd-rv64 --expect 'login:' --timeout 90s
  kstage boot initrd.img --kernel Image --disk root.img --append 'root=/dev/vda rw'`,
		Args: operands(cobra.ExactArgs(1), "name the initrd or the directory to boot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.operand = args[0]
			return b.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&b.kernel, "kernel", "", "boot this kernel, an image `FILE` such as Image, vmlinuz or vmlinux")
	flags.StringVar(&b.dtb, "dtb", "", "give the kernel this device tree, a .dtb `FILE`, instead of qemu's own")
	flags.Var(&b.memory, "memory", "the memory of the machine, such as 1G")
	flags.StringVar(&b.cmdline, "append", "", "put `TEXT` on the kernel's command line, behind "+bootCmdline)
	flags.StringVar(&b.disk, "disk", "", "a virtio disk with the contents of `FILE`, raw or qcow2")
	flags.StringVar(&b.expect, "expect", "", "end with 0 once `TEXT` stands in a line of the console, else with 3")
	flags.DurationVar(&b.timeout, "timeout", time.Minute, "stop the machine after this `TIME`, such as 90s or 5m; without --expect only when given")
	b.maxSize.add(flags)
	u.jsonFlag(cmd)
	flags.Lookup("json").Usage = "with --expect, print a JSON report on standard output instead of words on standard error"
	return cmd
}

// check finds wrong calls.
func (b *booter) check(cmd *cobra.Command) error {
	expects := cmd.Flags().Changed("expect")
	if !expects && !cmd.Flags().Changed("timeout") {
		b.timeout = 0
	}
	wrong := func(text, hint string) error {
		return &usageError{line: cmd.UseLine(), err: withHint(errors.New(text), hint)}
	}
	switch {
	case b.operand == "-":
		return wrong("standard input is the console's", "save the image to a file and name that")
	case expects && strings.TrimSpace(b.expect) == "":
		return wrong("--expect is empty", "name what the console shows when all is well, such as 'login:'")
	case strings.ContainsAny(b.expect, "\r\n"):
		return wrong("--expect has more than one line", "one line of the console is looked at a time")
	case !expects && b.json:
		return wrong("--json is for --expect", "without --expect the console itself is the output")
	case cmd.Flags().Changed("timeout") && b.timeout <= 0:
		return wrong(fmt.Sprintf("--timeout %v leaves no time", b.timeout), "a boot takes 2 to 20 seconds")
	case b.memory < 32<<20:
		return wrong(fmt.Sprintf("--memory %s is too little for a kernel", size(int64(b.memory))), "as in --memory 512M")
	}
	return nil
}

func (b *booter) run(cmd *cobra.Command) (err error) {
	if err := b.check(cmd); err != nil {
		return err
	}
	kind, err := operandKind(b.operand)
	if err == nil && kind == kindModule {
		err = withHint(fmt.Errorf("%s: is a program or a kernel, not an image", b.operand), "kstage boot IMAGE --kernel FILE")
	}
	if err == nil {
		b.qemu, err = findQEMU()
	}
	if err == nil {
		err = b.checkFiles()
	}
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "kstage-boot-"); err != nil {
		return withHint(err, "TMPDIR names the directory for temporary files")
	}
	defer os.RemoveAll(b.dir)
	if b.booted, err = b.findKernel(cmd.Context(), kind); err != nil {
		return err
	}
	image := b.operand
	if kind == kindDirectory {
		image, err = b.pack(cmd)
	} else {
		image, err = b.unwrap(image)
	}
	if err != nil {
		return err
	}
	if err := b.verify(cmd, image); err != nil {
		return err
	}
	return b.start(cmd.Context(), image)
}

// checkFiles refuses what qemu would refuse with fewer words.
func (b *booter) checkFiles() error {
	for _, file := range []struct{ option, name string }{{"--dtb", b.dtb}, {"--disk", b.disk}} {
		if file.name == "" {
			continue
		}
		info, err := os.Stat(file.name)
		if err == nil && info.IsDir() {
			err = errors.New("is a directory")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file.option, openError(file.name, err))
		}
	}
	if b.dtb != "" {
		if magic := beginning(b.dtb, 4); string(magic) != "\xd0\x0d\xfe\xed" {
			return withHint(fmt.Errorf("--dtb: %s is no device tree: it begins with % x", b.dtb, magic), "a source is compiled first: dtc -o FILE.dtb FILE.dts")
		}
	}
	return nil
}

// beginning reads the first bytes of a file, as far as they are there.
func beginning(name string, n int) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, n)
	n, _ = io.ReadFull(f, b) // too few are none that are looked for
	return b[:n]
}

// pack packs the directory, as kstage pack would.
func (b *booter) pack(cmd *cobra.Command) (image string, err error) {
	var report bytes.Buffer
	u := newUI(&report, b.err)
	u.json = b.json
	defer u.endProgress()
	p := &packer{ui: u, sources: sourceSet{ui: u, problems: []initrd.Problem{}}, kernelImage: b.kernel, machine: "riscv64", title: b.operand}
	p.sources.names = []string{b.operand}
	p.compress.text, p.format.format = "auto", "cpio"
	p.output = filepath.Join(b.dir, "initrd")
	if err := p.run(cmd); err != nil {
		return "", err
	}
	b.packed = report.Bytes()
	return p.output, nil
}

// unwrap takes the header of a boot loader off an image, which qemu would hand to the
// kernel as it is.
func (b *booter) unwrap(image string) (string, error) {
	f, err := os.Open(image)
	if err != nil {
		return "", openError(image, err)
	}
	defer f.Close()
	switch magic := string(beginning(image, 4)); magic {
	case "\x27\x05\x19\x56", "\xd0\x0d\xfe\xed": // include/image.h and the device tree's in U-Boot
	default:
		return image, nil
	}
	inner, err := uboot.Open(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", image, err)
	}
	to := filepath.Join(b.dir, "initrd")
	out, err := os.Create(to)
	if err == nil {
		_, err = io.Copy(out, inner)
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", image, err)
	}
	return to, nil
}

// verify tells what the kernel will make of the image in a machine of this memory.
func (b *booter) verify(cmd *cobra.Command, image string) error {
	f, err := openImage(cmd.Context(), image)
	if err != nil {
		return err
	}
	defer f.Close()
	kernel := initrd.Kernel{Memory: int64(b.memory)}
	if parameter(b.cmdline, "root") {
		kernel.Memory = 0 // the root is then a file system without the bound
	}
	report, err := initrd.Verify(f, kernel)
	switch {
	case cmd.Context().Err() != nil:
		return err
	case err != nil:
		b.noteLine("%s: what the kernel will make of it is not known: %v", b.operand, err)
		return nil
	case report.Entries == 0:
		return withHint(fmt.Errorf("%s: is no initrd: there is not one file in it", b.operand), "kstage verify tells more")
	}
	for i := range report.Findings {
		if f := &report.Findings[i]; f.Severity == initrd.Memory {
			f.Hint = fmt.Sprintf("--memory gives the machine more than its %s", size(int64(b.memory)))
		}
	}
	b.verified = report
	(&imageVerifier{ui: b.ui}).findings(report)
	return nil
}

// parameter tells whether a kernel's command line has one of this name.
func parameter(cmdline, name string) bool {
	for _, word := range strings.Fields(cmdline) {
		if strings.HasPrefix(word, name+"=") {
			return true
		}
	}
	return false
}

func (b *booter) noteLine(format string, args ...any) {
	if !b.json {
		b.line("note", format, args...)
	}
}
