package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/machine"
	"github.com/kstage/kstage/initrd"
)

// A completer gives the values that a shell offers for an operand or an option.
type completer = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// newCompletion prints the script that makes a shell ask kstage what could follow.
func newCompletion(u *ui) *cobra.Command {
	scripts := map[string]func(root *cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(u.out, true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(u.out) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(u.out, true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(u.out) },
	}
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "completion bash|zsh|fish|powershell",
		Short:                 "Print the script by which a shell completes kstage's words",
		Long: `Print a script for a shell, which then completes commands, options and values: modules
of the tree, kernel versions, files in an image. In bash it needs the package
bash-completion.`,
		Example: `  source <(kstage completion bash)
  kstage completion bash > ~/.local/share/bash-completion/completions/kstage
  kstage completion zsh > "${fpath[1]}/_kstage"
  kstage completion fish > ~/.config/fish/completions/kstage.fish
  kstage completion powershell | Out-String | Invoke-Expression`,
		ValidArgsFunction: cobra.FixedCompletions(shells, noFiles),
		Args:              operands(cobra.ExactArgs(1), "name the shell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			script := scripts[args[0]]
			if script == nil {
				return &usageError{line: cmd.UseLine(), err: withHint(errUnknownShell(args[0]), "there are "+strings.Join(shells, ", "))}
			}
			return script(cmd.Root())
		},
	}
}

type errUnknownShell string

func (e errUnknownShell) Error() string { return "no completions for " + string(e) }

// operandValues are what the operands of commands can be, where they are not files.
var operandValues = map[string]completer{
	"cat": imageThenMembers, "ls": imageThenMembers, "extract": imageThenMembers,
	"deps": func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return moduleNames(roots(cmd, nil), begun)
	},
	"modinfo": modinfoOperands,
	"depmod": func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return kernelVersions(cmd, args, "")
	},
}

// optionValues are what options take, by the command's and the option's name or by
// the option's alone. Others take what their help calls the value.
var optionValues = map[string]completer{
	"pack module": func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		return moduleNames(roots(cmd, args), begun)
	},
	"explain module":   cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	"pack compress":    cobra.FixedCompletions(compressionWords(), noFiles),
	"install compress": cobra.FixedCompletions(packingNames(), noFiles),
	"install mod-dir":  cobra.FixedCompletions([]string{"updates", "extra"}, noFiles),
	"modinfo field": cobra.FixedCompletions([]string{"filename", "name", "license", "description", "author", "version", "vermagic",
		"depends", "softdep", "alias", "firmware", "parm", "intree", "srcversion", "signer"}, noFiles),
	"add":            cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	"compat":         cobra.FixedCompletions([]string{"34", "33", "30"}, noFiles),
	"format":         cobra.FixedCompletions([]string{"cpio\tas qemu and most loaders take it", "uimage\twith a legacy header of U-Boot", "fit\ta FIT for U-Boot"}, noFiles),
	"kernel-release": kernelVersions,
	"owner":          cobra.FixedCompletions([]string{"keep", "0:0"}, noFiles),
	"profile":        profiles,
	"set-version":    kernelVersions,
}

// complete tells the shells what all operands and options take.
func complete(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if values, ok := operandValues[cmd.Name()]; ok {
			cmd.ValidArgsFunction = values
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			values, ok := optionValues[cmd.Name()+" "+f.Name]
			if !ok {
				values, ok = optionValues[f.Name]
			}
			if !ok {
				values = byKind(f)
			}
			_ = cmd.RegisterFlagCompletionFunc(f.Name, values) // it is there, and visited once
		})
	}
}

// byKind goes by what the help calls the value of an option.
func byKind(f *pflag.Flag) completer {
	switch kind, _ := pflag.UnquoteUsage(f); kind {
	case "FILE", "PATH":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	case "DIR", "ROOT", "OUTDIR":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	}
	return cobra.NoFileCompletions
}

func compressionWords() []string {
	words := []string{"auto\twhat the kernel can unpack", initrd.None.String()}
	for _, u := range unpackers {
		words = append(words, u.method.String()+"\tunpacked by kernels with CONFIG_"+u.option)
	}
	return words
}

// profiles completes the last one of a list with commas.
func profiles(_ *cobra.Command, _ []string, begun string) (words []string, _ cobra.ShellCompDirective) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	for _, p := range machine.Profiles() {
		words = append(words, before+p.Name+"\t"+p.About)
	}
	return words, noFiles
}

// roots are the directories that modules are looked for in: that of -b, or the
// operands.
func roots(cmd *cobra.Command, args []string) []string {
	if base := cmd.Flags().Lookup("basedir"); base != nil {
		return []string{base.Value.String()}
	}
	return args
}

// eachModuleDir visits the module directories below roots. What cannot be read has
// nothing to offer.
func eachModuleDir(roots []string, visit func(root fs.FS, dir string)) {
	for _, name := range roots {
		if name == "" {
			name = "/"
		}
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			continue
		}
		root, err := openRoot(name)
		if err != nil {
			continue
		}
		dirs, _ := depmod.Find(root)
		for _, dir := range dirs {
			visit(root, dir)
		}
		_ = root.Close() // has only been read from
	}
}

func kernelVersions(cmd *cobra.Command, args []string, _ string) (versions []string, _ cobra.ShellCompDirective) {
	eachModuleDir(roots(cmd, args), func(_ fs.FS, dir string) { versions = append(versions, path.Base(dir)) })
	return versions, noFiles
}

// moduleNames gives the names of the module files, so that no index has to be there.
// One that is left out has ! in front.
func moduleNames(roots []string, begun string) ([]string, cobra.ShellCompDirective) {
	not := begun[:len(begun)-len(strings.TrimPrefix(begun, "!"))]
	var names []string
	eachModuleDir(roots, func(root fs.FS, dir string) {
		_ = fs.WalkDir(root, dir, func(name string, d fs.DirEntry, err error) error {
			if file := path.Base(name); err == nil && !d.IsDir() && isModuleName(file) {
				file, _, _ = strings.Cut(file, ".ko")
				names = append(names, not+strings.ReplaceAll(file, "-", "_"))
			}
			return nil
		})
	})
	return offered(names, begun), noFiles
}

// modinfoOperands are files and, unless one is begun, names.
func modinfoOperands(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	if strings.ContainsAny(begun, "/.") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, _ := moduleNames(roots(cmd, nil), begun)
	return names, cobra.ShellCompDirectiveDefault
}

// patience is how long an image is read for a list of what is in it.
const patience = 3 * time.Second

// imageThenMembers offers files for the first operand, and then what is in it, a
// directory at a time.
func imageThenMembers(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if args[0] == "-" { // is not to be read twice
		return nil, noFiles
	}
	ctx, stop := context.WithTimeout(cmd.Context(), patience)
	defer stop()
	var names []string
	_, _ = eachEntry(ctx, args[0], func(_ *initrd.Reader, h *initrd.Header) error { // what was read before an error is there
		if rest, ok := strings.CutPrefix(cleanName(h.Name), begun); ok {
			if slash := strings.IndexByte(rest, '/'); slash >= 0 {
				rest = rest[:slash+1]
			}
			names = append(names, begun+rest)
		}
		return nil
	})
	names = offered(names, begun)
	names = slices.DeleteFunc(names, func(name string) bool { // the directory itself, when something is in it
		_, deeper := slices.BinarySearch(names, name+"/")
		return deeper || name == "." || name == begun && strings.HasSuffix(name, "/")
	})
	if len(names) == 1 && strings.HasSuffix(names[0], "/") {
		return names, noFiles | cobra.ShellCompDirectiveNoSpace
	}
	return names, noFiles
}

// offered sorts names, of which each is there once. Those that would not be one word on
// a terminal are left out, as are those that do not begin as what was typed.
func offered(names []string, begun string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return escape(name) != name || !strings.HasPrefix(name, begun) })
	slices.Sort(names)
	return slices.Compact(names)
}
