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
	root        string
	output      string
	compression string
	format      formatFlags
	dryRun      bool
}

func newPack(u *ui) *cobra.Command {
	p := &packer{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "pack ROOT [-o FILE]",
		Short:                 "Index the modules below a directory and pack it into an initrd",
		Long: `Pack the directory ROOT into an initrd (a newc cpio archive, compressed). The
modules of every kernel version below ROOT are indexed first, and the indexes go
into the image. ROOT itself is never changed, and no root rights are needed: all
files belong to 0:0 in the image, /dev/console and /dev/null are added. The same
tree gives the same bytes, always; times are SOURCE_DATE_EPOCH, or 0.`,
		Example: `  kstage pack ./initrd-rv64
  kstage pack ./rootfs -o initrd.img -c zstd:19 --kernel-build ../linux
  kstage pack ./rootfs --format fit --fit-kernel Image --fit-load 0x80200000
  kstage pack ./rootfs -c none -o - | zstdcat | cpio -t`,
		Args: operands(cobra.ExactArgs(1), "name the directory to pack"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.root = args[0]
			return p.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.output, "output", "o", "", "write the image to `FILE`, - for standard output (default NAME.cpio.gz here)")
	flags.StringVarP(&p.compression, "compress", "c", "gzip", "compression: none, gzip or zstd, with a level as in zstd:19")
	flags.BoolVar(&p.dryRun, "dry-run", false, "do all but write the image")
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
	if err := p.format.open(); err != nil {
		return err
	}
	defer p.format.close()
	root, err := openRoot(p.root)
	if err != nil {
		return err
	}
	defer root.Close()
	kernels, err := p.kernelsBelow(cmd.Context(), root)
	if err != nil {
		return err
	}
	tree, problems, err := p.tree(root, kernels)
	if err != nil {
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
		Entries: tree.Len(), Size: summary.Compressed, Unpacked: summary.Raw, Kernels: kernels, Problems: problems,
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
		if p.output, err = imageName(p.root, c.Method); err != nil {
			return o, err
		}
		p.output = p.format.output(p.output)
	}
	return o, p.outsideRoot()
}

// imageName is the default name: that of the directory, then .cpio and the
// ending of the compression.
func imageName(root string, method initrd.Method) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	name := filepath.Base(abs)
	if name == string(filepath.Separator) {
		name = "initrd"
	}
	return name + ".cpio" + map[initrd.Method]string{initrd.Gzip: ".gz", initrd.Zstd: ".zst"}[method], nil
}

// outsideRoot refuses to write into the tree that is packed, which is promised
// to stay as it is.
func (p *packer) outsideRoot() error {
	root, err := filepath.EvalSymlinks(p.root)
	if err != nil {
		return nil // opening the root tells it better
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(p.output))
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("%s: there is no directory %s", p.output, filepath.Dir(p.output)), "make it first: mkdir -p "+filepath.Dir(p.output))
	}
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
		return withHint(fmt.Errorf("%s lies inside %s, which is never changed", p.output, p.root), "name a place outside with -o")
	}
	return nil
}

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
		return nil, fmt.Errorf("%s: --kernel-build is given, but there is no lib/modules/VERSION to complete", p.root)
	}
	if !p.json {
		p.line("note", "there is no lib/modules/VERSION: the image has no kernel modules")
	}
	return []*kernel{}, nil
}

// tree reads the directory and lays the generated files over it.
func (p *packer) tree(root fs.FS, kernels []*kernel) (*initrd.Tree, []initrd.Problem, error) {
	var tree initrd.Tree
	problems, err := tree.AddFS(root)
	if errors.Is(err, fs.ErrPermission) {
		err = withHint(err, "make it readable for the user who runs kstage, or leave it out of the tree")
	}
	if err != nil {
		return nil, nil, err
	}
	for _, problem := range problems {
		if !p.json {
			p.line("note", "%s: %s", problem.Path, problem.Text)
		}
	}
	for _, k := range kernels {
		for _, file := range k.files {
			var data bytes.Buffer
			if err := file.Write(&data); err != nil {
				return nil, nil, fmt.Errorf("%s/%s: %w", k.Dir, file.Name, err)
			}
			if err := tree.Put(initrd.File(path.Join(k.Dir, file.Name), 0o644, data.Bytes())); err != nil {
				return nil, nil, err
			}
		}
	}
	return &tree, append([]initrd.Problem{}, problems...), tree.AddBootDevices()
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
