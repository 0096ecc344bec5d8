package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
)

// depsCommand is one run of kstage deps.
type depsCommand struct {
	*ui
	choice         choiceFlags
	base, version  string
	maxModuleSize  byteSize
	why, tree, dot bool
	dir            string
}

func newDeps(u *ui) *cobra.Command {
	d := &depsCommand{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "deps [-b ROOT] MODULE...",
		Short:                 "Tell which kernel modules are needed, in the order of loading",
		Long: `Print the files of modules and of all that they need, one path below ROOT a line, in the
order in which they can be loaded: what is needed first, what was asked for last. The
order is that of modprobe. Two kinds stand behind what was asked for, with a tab and a
word after the path:

  post   a softdep wants it to be loaded afterwards
  weak   it need not be loaded, but the kernel may ask for it: it should be there

` + choiceHelp + `

Softdep and weakdep lines of modules and of ROOT's own modprobe.d count. What is part of
the kernel is known from modules.builtin and has no line. The modules themselves are
read, so no index has to be there.`,
		Example: `  kstage deps -b ./rootfs fs-ext4
  kstage deps -b ./rootfs --why kernel/drivers/usb/ '!usb_storage'
  kstage deps -b ./rootfs --dot virtio_net | dot -Tsvg > deps.svg
  kstage deps -b ./rootfs ext4 | cut -f1 | tar -C ./rootfs -cf modules.tar -T -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.choice.modules = args
			if err := d.settle(); err != nil {
				return &usageError{line: cmd.UseLine(), err: err}
			}
			return d.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&d.base, "basedir", "b", "/", "the `ROOT` below which lib/modules stands")
	flags.StringVarP(&d.version, "set-version", "k", "", "take the modules of the kernel `VERSION`")
	flags.BoolVar(&d.why, "why", false, "print behind each path, and a tab, who wants it")
	flags.BoolVar(&d.tree, "tree", false, "print what each module needs below it, set in")
	flags.BoolVar(&d.dot, "dot", false, "print a graph for graphviz")
	flags.Var(&d.maxModuleSize, "max-module-size", "largest unpacked module, such as 512M (default 1G)")
	d.choice.add(flags)
	u.jsonFlag(cmd)
	return cmd
}

// settle finds out what is wrong with the call before any work is done.
func (d *depsCommand) settle() error {
	forms := 0
	for _, form := range []bool{d.why, d.tree, d.dot, d.json} {
		if form {
			forms++
		}
	}
	switch {
	case !d.choice.given():
		return errors.New("name at least one module")
	case forms > 1:
		return errors.New("of --why, --tree, --dot and --json only one can be printed")
	}
	return nil
}

func (d *depsCommand) run(ctx context.Context) error {
	choices, err := d.choice.choices()
	if err != nil {
		return err
	}
	root, err := openRoot(d.base)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := d.directory(root)
	if err != nil {
		return err
	}
	index := indexFlags{}
	config, _, err := index.readConfig(root, path.Base(dir)) // depmod tells what is wrong with it
	if err != nil {
		return err
	}
	restore := boundMemory(indexMemory)
	tree, err := depmod.Scan(ctx, root, dir, depmod.Options{Config: config, MaxModuleSize: int64(d.maxModuleSize),
		Progress: d.step("reading modules of " + path.Base(dir))})
	restore()
	if err != nil {
		return cycleHint(dir, err)
	}
	set, problems, err := resolve(root, tree, choices)
	if err != nil {
		return err
	}
	d.dir = tree.Dir
	return d.output(set, append(ofMembers(tree.Problems, set), problems...))
}

// directory finds the one module directory that is meant.
func (d *depsCommand) directory(root fs.FS) (string, error) {
	var args []string
	if d.version != "" {
		args = []string{d.version}
	}
	dirs, err := versions(root, d.base, args)
	if err != nil {
		return "", err
	}
	if len(dirs) > 1 {
		var there []string
		for _, dir := range dirs {
			there = append(there, path.Base(dir))
		}
		return "", withHint(fmt.Errorf("%s: there are modules of several kernels", d.base), "name one with -k: "+strings.Join(there, ", "))
	}
	return dirs[0], nil
}

// ofMembers gives the problems with modules that are taken.
func ofMembers(problems []depmod.Problem, set *closure.Set) (some []depmod.Problem) {
	taken := make(map[string]bool)
	for _, m := range set.Members {
		taken[m.Module.Path] = true
	}
	for _, p := range problems {
		if p.Rule == depmod.RuleModule && taken[p.Path] {
			some = append(some, p)
		}
	}
	return some
}

func (d *depsCommand) output(set *closure.Set, problems []depmod.Problem) error {
	if d.json {
		return d.report(d.depsReport(set, problems))
	}
	d.problems("", problems)
	w := bufio.NewWriter(d.out)
	switch {
	case d.tree:
		printTree(w, set)
	case d.dot:
		printDot(w, set)
	default:
		d.printPaths(w, set)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, m := range set.BuiltIn {
		if m.Mark == closure.Chosen {
			d.line("note", "%s is part of the kernel", m.Name)
		}
	}
	return nil
}

// printPaths prints the load order.
func (d *depsCommand) printPaths(w *bufio.Writer, set *closure.Set) {
	for _, m := range set.Members {
		fmt.Fprint(w, path.Join(d.dir, m.Module.Path))
		if m.Mark >= closure.Post {
			fmt.Fprintf(w, "\t%v", m.Mark)
		} else if d.why {
			fmt.Fprint(w, "\t")
		}
		if d.why {
			fmt.Fprintf(w, "\t%s", whyText(m))
		}
		fmt.Fprintln(w)
	}
}

// whyText words why a module is there.
func whyText(m *closure.Member) string {
	var all []string
	for _, r := range m.Why {
		all = append(all, r.String())
	}
	return harmless(strings.Join(all, "; "))
}
