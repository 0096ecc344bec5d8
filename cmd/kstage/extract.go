package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
)

// unpacker is one run of kstage extract.
type unpacker struct {
	*ui
	limit   maxSize
	dir     string
	noOwner bool
	options initrd.ExtractOptions
}

func newExtract(u *ui) *cobra.Command {
	x := &unpacker{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "extract IMAGE -C DIR [GLOB...]",
		Short:                 "Unpack an initrd into a directory",
		Long: `Unpack an image into the directory DIR, which is made if it is missing: what the
kernel would unpack, with modes, times and hard links. IMAGE is any initrd; - is
standard input.

` + globForm + `

Nothing outside DIR changes, whatever the image says. All of it is read and checked
before anything is written: a damaged or truncated image writes nothing. Nor does
one for which files are in the way in DIR, unless --overwrite is given; links and
files are replaced then, directories are not. Links in DIR are never followed.

Root gives the files the owners that the image says, unless --no-owner is given; for
other users all files are their own. The setuid and setgid bits are set as the image
has them: unpack what you do not trust where others cannot come.`,
		Example: `  kstage extract initrd.img -C rootfs
  kstage extract initrd.img -C /tmp/etc etc
  curl -s https://example.org/initrd.img | kstage extract - -C rootfs --max-size 512M`,
		Args: operands(cobra.MinimumNArgs(1), "name the image to unpack, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := readFilter(args[1:], cmd.UseLine())
			if err != nil {
				return err
			}
			if x.dir == "" {
				return &usageError{line: cmd.UseLine(), err: withHint(errors.New("name the directory to unpack into with -C"), "-C . is this one")}
			}
			return x.run(cmd.Context(), args[0], filter)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&x.dir, "directory", "C", "", "unpack into the directory `DIR`")
	flags.BoolVar(&x.options.Overwrite, "overwrite", false, "replace files and links that are in the way")
	flags.BoolVar(&x.options.Devices, "devices", false, "make device nodes (takes root)")
	flags.BoolVar(&x.noOwner, "no-owner", false, "do not give files away, even as root")
	x.limit.add(flags)
	u.jsonFlag(cmd)
	return cmd
}

// extractReport is what --json prints.
type extractReport struct {
	Directory string           `json:"directory"`
	Entries   int              `json:"entries"` // made
	Size      int64            `json:"size"`    // bytes of contents
	Problems  []initrd.Problem `json:"problems"`
}

func (x *unpacker) run(ctx context.Context, name string, filter pathFilter) error {
	image, err := x.limit.unpack(ctx, name)
	if err != nil {
		return err
	}
	defer image.close()
	for e := range image.tree.All() {
		filter.takes(e.Path)
	}
	if err := filter.unused(); err != nil { // before anything is written
		return err
	}
	x.options.Owners = os.Geteuid() == 0 && !x.noOwner
	x.options.Select = func(e *initrd.Entry) bool { return filter.takes(e.Path) }
	x.options.Progress = x.step("unpacking")
	done, err := x.extract(ctx, image.tree)
	if err != nil {
		return x.explain(err)
	}
	problems := append(append([]initrd.Problem{}, image.problems...), done.Problems...)
	x.leftOut(problems)
	x.say("%s: %s, %s", x.dir, count(done.Entries, "entry", "entries"), size(done.Bytes))
	return x.report(extractReport{x.dir, done.Entries, done.Bytes, problems})
}

func (x *unpacker) extract(ctx context.Context, tree *initrd.Tree) (initrd.Extracted, error) {
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return initrd.Extracted{}, err
	}
	root, err := os.OpenRoot(x.dir)
	if err != nil {
		return initrd.Extracted{}, err
	}
	defer root.Close()
	x.begun = x.dir + " has a part of the files"
	return tree.Extract(ctx, root, x.options)
}

// explain names what is in the way, and the way out.
func (x *unpacker) explain(err error) error {
	occupied, ok := errors.AsType[*initrd.OccupiedError](err)
	if !ok {
		return fmt.Errorf("%s: %w", x.dir, err)
	}
	const most = 3
	text := ""
	for i, p := range occupied.Paths[:min(most, len(occupied.Paths))] {
		text += []string{"", ", "}[min(i, 1)] + escape(p)
	}
	if n := len(occupied.Paths) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	hint := "--overwrite replaces files and links, or unpack into an empty directory"
	if occupied.Dirs {
		hint = "move the directories away, or unpack into an empty one"
	}
	return withHint(fmt.Errorf("%s: in the way: %s; nothing was written", x.dir, text), hint)
}

// leftOut tells what was not made; device nodes, which nobody asked for, in one line.
func (x *unpacker) leftOut(problems []initrd.Problem) {
	if x.json {
		return
	}
	devices, others := 0, 0
	for _, p := range problems {
		if p.Rule == "device" {
			devices++
			continue
		}
		if others++; others <= maxAlike {
			x.line("note", "%s: %s", escape(cmp.Or(p.Path, "an entry without a name")), p.Text)
		}
	}
	if others > maxAlike {
		x.line("note", "%d more findings like these; --json lists all", others-maxAlike)
	}
	if devices > 0 {
		x.line("note", "%s left out; --devices makes them, as root", count(devices, "device node", "device nodes"))
	}
}
