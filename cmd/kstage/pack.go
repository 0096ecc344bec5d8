package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/initrd"
)

// packer is one run of kstage pack.
type packer struct {
	*ui
	index       indexFlags
	sources     sourceSet
	output      string
	compression string
	format      formatFlags
	dryRun      bool
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

A DST of --add that ends in / is the directory to put SRC into; . is the root. A
GLOB of --exclude without a slash matches names at any depth, one with a slash
paths from the root; * and ? match no slash, ** any number of directories.`,
		Example: `  kstage pack ./initrd-rv64
  docker export board | kstage pack - ./overlay -o board.cpio.gz
  kstage pack rootfs.tar.xz --add ./init:init --exclude usr/share/doc
  kstage pack ./rootfs -o initrd.img -c zstd:19 --kernel-build ../linux
  kstage pack ./rootfs --format fit --fit-kernel Image --fit-load 0x80200000
  kstage pack ./rootfs -c none -o - | zstdcat | cpio -t`,
		Args: operands(cobra.MinimumNArgs(1), "name the directory, tar or image to pack"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.sources.names = args
			return p.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.output, "output", "o", "", "write the image to `FILE`, - for standard output (default NAME.cpio.gz here)")
	flags.StringVarP(&p.compression, "compress", "c", "gzip", "compression: none, gzip or zstd, with a level as in zstd:19")
	flags.BoolVar(&p.dryRun, "dry-run", false, "do all but write the image")
	p.sources.add(flags)
	p.format.add(flags)
	p.index.add(flags)
	u.jsonFlag(cmd)
	return cmd
}

func (p *packer) run(cmd *cobra.Command) error {
	options, err := p.options(cmd)
	if err != nil {
		return err
	}
	defer p.sources.close()
	if err := p.format.open(); err != nil {
		return err
	}
	defer p.format.close()
	tree, err := p.sources.read(cmd.Context())
	if err != nil {
		return err
	}
	kernels, err := p.kernelsBelow(cmd.Context(), tree.FS())
	if err != nil {
		return err
	}
	if err := layOver(tree, kernels); err != nil {
		return err
	}
	p.format.name(kernels)
	summary, err := p.write(cmd.Context(), tree, options)
	if err != nil {
		return err
	}
	p.summarize(summary, tree, kernels)
	return errors.Join(p.report(packReport{
		Output: p.output, Format: p.format.format, Compression: options.Compression.String(), Written: !p.dryRun,
		Entries: tree.Len(), Size: summary.Compressed, Unpacked: summary.Raw, Kernels: kernels, Problems: p.sources.problems,
	}), p.index.verdict(kernels))
}

// packReport is what --json prints.
type packReport struct {
	Output      string           `json:"output"`
	Format      string           `json:"format"` // cpio, uimage or fit
	Compression string           `json:"compression"`
	Written     bool             `json:"written"`
	Entries     int              `json:"entries"`
	Size        int64            `json:"size"`     // bytes of the image
	Unpacked    int64            `json:"unpacked"` // bytes of the archive in it
	Kernels     []*kernel        `json:"kernels"`
	Problems    []initrd.Problem `json:"problems"`
}

// options settles everything that can be wrong before any work is done.
func (p *packer) options(cmd *cobra.Command) (initrd.Options, error) {
	wrong := func(err error) (initrd.Options, error) {
		return initrd.Options{}, &usageError{line: cmd.UseLine(), err: err}
	}
	c, err := initrd.ParseCompression(p.compression)
	if err != nil {
		return wrong(err)
	}
	if err := p.sources.settle(cmd.UseLine()); err != nil {
		return initrd.Options{}, err
	}
	if err := p.format.check(); err != nil {
		return wrong(err)
	}
	o := initrd.Options{Compression: c}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		t, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return wrong(fmt.Errorf("SOURCE_DATE_EPOCH is %q, not a number of seconds below 2^32", epoch))
		}
		o.ModTime = uint32(t)
	}
	if p.output == "-" {
		if p.json {
			return wrong(errors.New("--json and -o - both want standard output"))
		}
		return o, nil
	}
	if p.output == "" {
		if p.output, err = imageName(p.sources.names[0], c.Method); err != nil {
			return o, err
		}
		p.output = p.format.output(p.output)
	}
	return o, p.sources.spares(p.output)
}

// imageName is the default name: that of the first source, then .cpio and the
// ending of the compression.
func imageName(source string, method initrd.Method) (string, error) {
	name := "initrd"
	if source != "-" {
		abs, err := filepath.Abs(source)
		if err != nil {
			return "", err
		}
		if base := filepath.Base(abs); base != string(filepath.Separator) {
			name = archiveEnding.ReplaceAllString(base, "")
		}
	}
	return name + ".cpio" + map[initrd.Method]string{initrd.Gzip: ".gz", initrd.Zstd: ".zst"}[method], nil
}

// archiveEnding is what the name of a tar or an image has behind its own.
var archiveEnding = regexp.MustCompile(`(\.(tar|cpio|img))?(\.(gz|zst|xz|lz4|lzma|bz2))?$|\.t[gx]z$`)

// kernelsBelow indexes every kernel version of the tree.
func (p *packer) kernelsBelow(ctx context.Context, root fs.FS) ([]*kernel, error) {
	dirs, err := depmod.Find(root)
	if err != nil {
		return nil, err
	}
	if len(dirs) > 0 {
		return p.index.index(ctx, p.ui, root, dirs)
	}
	if p.index.kernelBuild != "" {
		return nil, fmt.Errorf("%s: --kernel-build is given, but there is no lib/modules/VERSION to complete", strings.Join(p.sources.names, ", "))
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

// summarize tells a person what was made.
func (p *packer) summarize(s initrd.Summary, tree *initrd.Tree, kernels []*kernel) {
	text := strings.TrimPrefix(p.output, "-")
	if text == "" {
		text = "standard output"
	}
	if p.dryRun {
		text += " (not written)"
	}
	unpacked := ""
	if s.Raw != s.Compressed {
		unpacked = fmt.Sprintf(" (%s unpacked)", size(s.Raw))
	}
	p.say("%s: %s%s%s, %s", text, size(s.Compressed), p.format.label(), unpacked, count(tree.Len(), "entry", "entries"))
	p.kernels(kernels)
	p.format.say(p.ui)
}
