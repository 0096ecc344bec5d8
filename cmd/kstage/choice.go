package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/initrd"
)

// choiceFlags are the options that choose modules.
type choiceFlags struct {
	modules []string // as operands or options name them
	lists   []string
}

// choiceHelp explains the forms of a choice.
const choiceHelp = `A module is named by its name (virtio_net), a pattern of names (snd_soc_*), a directory
(kernel/drivers/usb/), a file or a pattern of files (kernel/drivers/*/phy/**), any alias
(fs-ext4, pci:v00001AF4d00001000..., of:..., a pattern such as of:*starfive*), or a symbol
that it exports (symbol:crc32c). With ! in front it is left out, whatever else asks for it.`

// packChoice stands before choiceHelp in the help of pack.
const packChoice = `All modules go into the image unless some are chosen, by --module, --module-list and
the like: then these, what they need, and what their softdep and weakdep lines and the
tree's modprobe.d ask for. kstage deps tells beforehand which these are.
`

// addModule adds --module too, for commands whose operands are something else.
func (f *choiceFlags) addModule(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.modules, "module", "m", nil, "take only this module and what it needs: `NAME`, directory, alias, ...; ! in front leaves it out; may be given again")
	f.add(flags)
}

func (f *choiceFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.lists, "module-list", nil, "take the modules that `FILE` names, one a line; # begins a comment, ? in front makes one optional")
}

// given tells whether anything is chosen.
func (f *choiceFlags) given() bool { return len(f.modules)+len(f.lists) > 0 }

// maxChoiceList bounds a list of choices; the longest useful one names each module.
const maxChoiceList = 16 << 20

// choices reads what the options name. Those of the command line come last.
func (f *choiceFlags) choices() ([]closure.Choice, error) {
	var choices []closure.Choice
	for _, name := range f.lists {
		data, err := readBounded(name, maxChoiceList)
		if err != nil {
			return nil, fmt.Errorf("--module-list: %w", err)
		}
		some, err := closure.ParseList(name, data)
		if err != nil {
			return nil, err
		}
		choices = append(choices, some...)
	}
	for _, text := range f.modules {
		choices = append(choices, closure.Choice{Text: text})
	}
	return choices, nil
}

// readBounded reads a file of the host, which may be no larger than most bytes.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("is larger than %s", size(most))}
	}
	return data, err
}

// resolve finds what the choices take of a tree of modules below root.
func resolve(root fs.FS, tree *depmod.Tree, choices []closure.Choice) (*closure.Set, []depmod.Problem, error) {
	config, problems, err := closure.ReadConfig(root, closure.ConfigPaths)
	if err != nil {
		return nil, nil, err
	}
	catalog, err := closure.New(tree, config)
	if err != nil {
		return nil, nil, err
	}
	set, err := catalog.Resolve(choices)
	if err != nil {
		return nil, nil, choiceError(tree.Dir, err)
	}
	return set, append(problems, set.Problems...), nil
}

// choiceError puts the ways out behind errors about choices.
func choiceError(dir string, err error) error {
	var near, hints []string
	all, _ := err.(interface{ Unwrap() []error })
	for _, one := range all.Unwrap() {
		var unknown *closure.NotFoundError
		var excluded *closure.ExcludedError
		switch {
		case errors.As(one, &excluded):
			hints = append(hints, fmt.Sprintf("leave out %s as well, or take %s", excluded.Module.Name, excluded.Needs.Name))
		case errors.As(one, &unknown) && len(unknown.Near) > 0:
			near = append(near, unknown.Choice.Text+": "+strings.Join(unknown.Near, " or "))
			hints = append(hints, "did you mean "+strings.Join(unknown.Near, " or ")+"?")
		case errors.As(one, &unknown) && unknown.BuiltInUnknown:
			hints = append(hints, "it may be part of the kernel: the tree has no modules.builtin that would tell")
		}
	}
	hint := strings.Join(slices.Compact(hints), "; ")
	if len(near) > 1 {
		hint = "similar names are: " + strings.Join(near, "; ")
	}
	return withHint(fmt.Errorf("%s: %w", dir, err), hint)
}

// A choiceReport is what --json says of a choice.
type choiceReport struct {
	Of      int      `json:"of"` // the modules of the tree
	BuiltIn []string `json:"built_in"`
}

// choose leaves of a kernel's modules what the choice takes.
func (f *choiceFlags) choose(root fs.FS, k *kernel) error {
	if !f.given() {
		return nil
	}
	choices, err := f.choices()
	if err != nil {
		return err
	}
	set, problems, err := resolve(root, k.tree, choices)
	if err != nil {
		return err
	}
	k.Chosen = &choiceReport{Of: len(k.tree.Modules), BuiltIn: []string{}}
	for _, m := range set.BuiltIn {
		k.Chosen.BuiltIn = append(k.Chosen.BuiltIn, m.Name)
	}
	k.Problems = append(k.Problems, problems...)
	k.tree, err = k.tree.Subset(set.Has)
	return err
}

// onlyChosen gives a tree without the module files that are not chosen, nor the
// directories that held nothing else.
func onlyChosen(ctx context.Context, tree *initrd.Tree, kernels []*kernel) (*initrd.Tree, error) {
	gone := make(map[string]bool)
	for _, k := range kernels {
		if k.Chosen == nil {
			return tree, nil
		}
		if err := ownFiles(tree, k); err != nil {
			return nil, err
		}
		leaveOut(tree, k, gone)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rest := &initrd.Tree{Filter: func(e *initrd.Entry) bool { return !gone[e.Path] }}
	return rest, rest.AddTree(".", tree)
}

// ownFiles puts the file in the place of each chosen module that is a link to one in a
// module directory, since what it leads to may be a module that is not chosen.
func ownFiles(tree *initrd.Tree, k *kernel) error {
	for _, m := range k.tree.Modules {
		place := path.Join(k.Dir, m.Path)
		e, ok := tree.Get(place)
		if !ok || e.Mode.Type() != fs.ModeSymlink {
			continue
		}
		file, ok := tree.Get(m.File())
		if !ok {
			return fmt.Errorf("%s: the link leads to %s, which is not in the image", place, m.File())
		}
		file.Path = place
		if err := tree.Put(file); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut notes which entries below a module directory go.
func leaveOut(tree *initrd.Tree, k *kernel, gone map[string]bool) {
	kept := make(map[string]bool)
	for _, m := range k.tree.Modules {
		kept[path.Join(k.Dir, m.Path)] = true
		if _, ok := tree.Get(path.Join(k.Dir, m.Path)); !ok { // a directory above is a link
			kept[m.File()] = true
		}
	}
	var emptied []string
	holds := make(map[string]int) // directory → what is left in it
	for e := range tree.All() {
		if !strings.HasPrefix(e.Path, k.Dir+"/") {
			continue
		}
		if depmod.ModuleSuffix(e.Path) != "" && !e.Mode.IsDir() && !kept[e.Path] {
			gone[e.Path] = true
			emptied = append(emptied, path.Dir(e.Path))
			continue
		}
		holds[path.Dir(e.Path)]++
	}
	for _, dir := range emptied {
		for ; dir != k.Dir && holds[dir] == 0 && !gone[dir]; dir = path.Dir(dir) {
			gone[dir] = true
			holds[path.Dir(dir)]--
		}
	}
}
