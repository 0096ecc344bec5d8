package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/initrd"
)

// packer is one run of kstage pack.
type packer struct {
	*ui
	index    indexFlags
	choice   choiceFlags
	strip    stripFlags
	firmware firmwareFlags
	sources  sourceSet
	compress compressionFlags
	early    string
	// kernelImage is the kernel that modules are checked for
	kernelImage string
	machine     string // that will run the image, "riscv64"; empty for that of the modules
	image       initrd.Options
	output      string
	title       string // what the summary calls the image, if not output
	format      formatFlags
	dryRun      bool
	depfile     string
	inputs      *inputs
}

func newPack(u *ui) *cobra.Command {
	p := &packer{ui: u, sources: sourceSet{ui: u, problems: []initrd.Problem{}}}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "pack SOURCE... [-o FILE]",
		Short:                 "Index the modules of a root file system and pack it into an initrd",
		Long: `Pack a root file system into an initrd (a newc cpio archive, compressed). A SOURCE
is a directory, a tar archive such as docker export writes, or another image;
compressed ones are unpacked, - is standard input. Later sources lie over earlier
ones: of two files the later counts, directories are joined, and where an earlier
source has a link to a directory (lib -> usr/lib) the later one's files go there.

The modules of every kernel version are indexed, and the indexes go into the
image. Sources are never changed, and no root rights are needed: the files of
directories belong to 0:0 in the image, those of tars and images to whom they say;
/dev/console and /dev/null are added. The links build and source below
lib/modules/VERSION are left out. The same sources give the same bytes, always;
times are SOURCE_DATE_EPOCH, or 0.

` + sourceHelp + packChoice + choiceHelp + "\n\n" + machineHelp() + `

Firmware that the modules name and the sources do not have comes from --firmware, with
the links that lead to it, plain or packed as .zst or .xz, as the kernel would find it.
What is not there either is a warning.

With --strip modules lose what nothing reads: labels that the assembler left for the
linker, two thirds of a riscv64 module, which the kernel would keep in memory, and debug
sections. Packed modules are packed again in their format. A signature would no longer
fit and goes; that is refused where the kernel loads signed modules only.

Where the kernel is known, the modules are checked as kstage check does: from --kernel,
--fit-kernel or --kernel-build, or when its image lies in the tree's boot/ or in
lib/modules/VERSION. One that would not load is a warning. So is an init or sbin/modprobe
that is a program for another machine than the modules.

Files that are compressed already, such as modules named .ko.xz, come first in the
image as they are, the others behind them compressed. How is known from the
kernel's configuration: --kernel-config, .config of --kernel-build, boot/config-VERSION,
boot/config or config in lib/modules/VERSION, also as .gz. Of what all kernels can
unpack zstd is preferred, then gzip, xz, lz4; gzip is taken when nothing is known.`,
		Example: `  kstage pack ./initrd-rv64
  docker export board | kstage pack - ./overlay -o board.cpio.gz
  kstage pack rootfs.tar.xz --add ./init:init --exclude usr/share/doc
  kstage pack ./rootfs -o initrd.img -c zstd:19 --kernel-build ../linux
  kstage pack ./rootfs --format fit --fit-kernel Image --fit-load 0x80200000
  kstage pack ./rootfs --module fs-ext4 --module kernel/drivers/virtio/
  kstage pack ./rootfs --dtb jh7110-pine64-star64.dtb --profile ext4,mmc
  kstage pack ./rootfs --module brcmfmac --firmware ../linux-firmware
  kstage pack ./rootfs -c none -o - | cpio -t`,
		Args: operands(cobra.MinimumNArgs(1), "name the directory, tar or image to pack"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.sources.names = args
			return p.run(cmd)
		},
	}
	p.flags(cmd)
	return cmd
}

// flags adds the options.
func (p *packer) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&p.output, "output", "o", "", "write the image to `FILE`, - for standard output (default NAME.cpio.gz here, or what the compression is called)")
	p.compress.add(flags)
	flags.StringVar(&p.kernelImage, "kernel", "", "check whether the modules load on this kernel, an image `FILE` such as Image or vmlinuz")
	flags.StringVar(&p.early, "early", "", "put the directory `DIR` in front of all, uncompressed and in an archive of its own")
	flags.BoolVar(&p.image.OneSegment, "one-segment", false, "compress all files, also those that are compressed already")
	flags.IntVar(&p.image.Align, "align", 0, "put the data of uncompressed files on multiples of `N` bytes: a power of two, 4 to 4096")
	flags.BoolVar(&p.dryRun, "dry-run", false, "do all but write the image")
	depfileFlag(flags, &p.depfile, "the image")
	p.sources.add(flags)
	p.format.add(flags)
	p.index.add(flags)
	p.choice.addModule(flags)
	p.firmware.add(flags)
	p.strip.add(flags)
	p.jsonFlag(cmd)
}

func (p *packer) run(cmd *cobra.Command) error {
	if err := p.options(cmd); err != nil {
		return err
	}
	defer p.sources.close()
	_, wrong := p.choice.choices() // it costs little to know beforehand
	if err := errors.Join(p.compress.open(), p.format.open(), wrong); err != nil {
		return err
	}
	defer p.format.close()
	tree, err := p.sources.read(cmd.Context())
	if err != nil {
		return err
	}
	if err := p.readEarly(); err != nil {
		return err
	}
	kernels, err := p.kernelsBelow(cmd.Context(), tree.FS())
	if err != nil {
		return err
	}
	if tree, err = onlyChosen(cmd.Context(), tree, kernels); err != nil {
		return err
	}
	if err := p.addFirmware(tree, kernels); err != nil {
		return err
	}
	if err := p.slimAndCheck(cmd.Context(), tree, kernels); err != nil {
		return err
	}
	p.checkPrograms(tree.FS(), kernels)
	why, err := p.settleCompression(tree.FS(), kernels)
	if err != nil {
		return err
	}
	if err := layOver(tree, kernels); err != nil {
		return err
	}
	p.format.name(kernels)
	if err := p.inputs.write(p.depfile, p.output); err != nil {
		return err
	}
	summary, err := p.write(cmd.Context(), tree, p.image)
	if err != nil {
		return err
	}
	p.summarize(summary, why, kernels)
	return errors.Join(p.report(packReport{
		Output: p.output, Format: p.format.format, Compression: p.image.Compression.String(), Why: why, Written: !p.dryRun,
		Entries: summary.Entries, Size: summary.Compressed, Unpacked: summary.Raw, Segments: segmentReports(summary.Segments),
		Kernels: kernels, Problems: p.sources.problems,
	}), p.index.verdict(kernels))
}

// checkPrograms warns of programs for another machine.
func (p *packer) checkPrograms(tree fs.FS, kernels []*kernel) {
	machine := cmp.Or(p.machine, machineOf(kernels))
	if machine == "" {
		return
	}
	foreignPrograms(tree, machine, func(name, text string) {
		p.sources.problem(initrd.Problem{Rule: "machine", Path: name, Text: text})
		if !p.json {
			p.hint("put the " + machine + " build of it into the tree")
		}
	})
}

// readEarly reads the directory of --early.
func (p *packer) readEarly() error {
	if p.early == "" {
		return nil
	}
	root, err := openRoot(p.early)
	if err != nil {
		return fmt.Errorf("--early: %w", err)
	}
	p.sources.opened = append(p.sources.opened, root)
	p.image.Early = new(initrd.Tree)
	problems, err := p.image.Early.AddFS(root)
	p.inputs.addTree(p.early, p.image.Early)
	if err != nil {
		return fmt.Errorf("--early %s: %w", p.early, err)
	}
	for _, problem := range problems {
		problem.Path = path.Join(filepath.ToSlash(p.early), problem.Path)
		p.sources.problem(problem)
	}
	return nil
}

// settleCompression finds out what the kernels can unpack, and with it the
// default name of the image.
func (p *packer) settleCompression(tree fs.FS, kernels []*kernel) (why string, err error) {
	t, err := p.target(tree, kernels)
	if err != nil {
		return "", err
	}
	if p.image.Compression, why, err = p.compress.choose(t); err != nil || p.output != "" {
		return why, err
	}
	return why, p.nameOutput(p.image.Compression.Method)
}

// packReport is what --json prints.
type packReport struct {
	Output      string           `json:"output"`
	Format      string           `json:"format"` // cpio, uimage or fit
	Compression string           `json:"compression"`
	Why         string           `json:"compression_reason,omitempty"` // where it was left to kstage
	Written     bool             `json:"written"`
	Entries     int              `json:"entries"`  // of all segments
	Size        int64            `json:"size"`     // bytes of the image
	Unpacked    int64            `json:"unpacked"` // bytes of the archives in it
	Segments    []segmentReport  `json:"segments"`
	Kernels     []*kernel        `json:"kernels"`
	Problems    []initrd.Problem `json:"problems"`
}

// segmentReport is one archive in the image.
type segmentReport struct {
	Compression string `json:"compression"`
	Offset      int64  `json:"offset"`           // in the image, a format's header not counted
	Size        int64  `json:"size"`             // bytes in the image
	Unpacked    int64  `json:"unpacked"`         // bytes of the archive
	Entries     int    `json:"entries"`          // the trailer not among them
	Frames      int    `json:"frames,omitempty"` // parts that are compressed by themselves
}

func segmentReports(all []initrd.Segment) []segmentReport {
	var reports []segmentReport
	for _, s := range all {
		reports = append(reports, segmentReport{s.Method.String(), s.Offset, s.Size, s.Unpacked, s.Entries, s.Frames})
	}
	return reports
}

// options settles everything that can be wrong before any work is done.
func (p *packer) options(cmd *cobra.Command) error {
	wrong := func(err error) error { return &usageError{line: cmd.UseLine(), err: err} }
	if err := errors.Join(p.compress.check(), p.image.Check(), p.format.check()); err != nil {
		return wrong(err)
	}
	if err := p.sources.settle(cmd.UseLine()); err != nil {
		return err
	}
	if err := p.watch(); err != nil {
		return wrong(err)
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		t, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return wrong(fmt.Errorf("SOURCE_DATE_EPOCH is %q, not a number of seconds below 2^32", epoch))
		}
		p.image.ModTime = uint32(t)
	}
	switch {
	case p.output == "-" && p.json:
		return wrong(errors.New("--json and -o - both want standard output"))
	case p.output == "-", p.output == "" && p.compress.auto:
		return nil
	case p.output == "":
		return p.nameOutput(p.compress.asked.Method)
	}
	return p.spares()
}

// kernelsBelow indexes every kernel version of the tree.
func (p *packer) kernelsBelow(ctx context.Context, root fs.FS) ([]*kernel, error) {
	dirs, err := depmod.Find(root)
	if err != nil {
		return nil, err
	}
	p.index.choose = p.choice.choose
	if len(dirs) > 0 {
		return p.index.index(ctx, p.ui, root, dirs)
	}
	switch {
	case p.index.kernelBuild != "":
		return nil, fmt.Errorf("%s: --kernel-build is given, but there is no lib/modules/VERSION to complete", strings.Join(p.sources.names, ", "))
	case p.choice.given():
		return nil, fmt.Errorf("%s: modules are chosen, but there is no lib/modules/VERSION to take them from", strings.Join(p.sources.names, ", "))
	}
	if !p.json {
		p.line("note", "there is no lib/modules/VERSION: the image has no kernel modules")
	}
	return []*kernel{}, nil
}

// layOver lays the generated files over the tree.
func layOver(tree *initrd.Tree, kernels []*kernel) error {
	for _, k := range kernels {
		for _, file := range k.files {
			var data bytes.Buffer
			if err := file.Write(&data); err != nil {
				return fmt.Errorf("%s/%s: %w", k.Dir, file.Name, err)
			}
			if err := tree.Put(initrd.File(path.Join(k.Dir, file.Name), 0o644, data.Bytes())); err != nil {
				return err
			}
		}
	}
	return tree.AddBootDevices()
}

// write writes the image to where it is wanted; a dry run writes it to nowhere,
// so that its size is known all the same.
func (p *packer) write(ctx context.Context, tree *initrd.Tree, o initrd.Options) (initrd.Summary, error) {
	o.Progress = p.step("packing")
	switch {
	case !p.format.plain():
		return p.writeWrapped(ctx, tree, o)
	case p.dryRun:
		return initrd.Write(ctx, io.Discard, tree, o)
	case p.output == "-":
		return initrd.Write(ctx, p.out, tree, o)
	}
	return initrd.WriteFile(ctx, p.output, tree, o)
}
