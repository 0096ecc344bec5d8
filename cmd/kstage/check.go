package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/preflight"
)

// checkMemory is indexMemory for a check, which keeps the kernel's exports and what
// each module needs of others.
const checkMemory = 256 << 20

// checker is one run of kstage check.
type checker struct {
	*ui
	kernel        kernelFlags
	check         preflight.Check // what is asked besides the kernel
	loadedNames   []string
	maxSize       maxSize
	maxModuleSize byteSize
	verbose       bool

	take   func([]preflight.Result, *kernelSide) error
	named  *kernelSide // what the flags tell
	loaded *preflight.Loaded
	failed bool   // some module would not load
	label  string // of what fails; error when empty
}

func newCheck(u *ui) *cobra.Command {
	c := &checker{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "check [--kernel IMAGE] ROOT|IMAGE|FILE.ko...",
		Short:                 "Tell whether kernel modules will load, and if not, what dmesg will say",
		Long: `Follow the kernel's module loader step by step, without running it, and tell for each
module whether it would load; if not, what dmesg would say, why, and what to do.

ROOT is a directory with lib/modules/VERSION, IMAGE an initrd: their modules are taken
as modprobe loads them, with the modules that they need before them. FILE.ko is taken
as insmod loads it: what it needs must be in the kernel, or be named with --loaded.

The kernel is what --kernel names: any kernel image, packed or not. Without it the
kernel of a ROOT is looked for in boot/vmlinux-VERSION, boot/vmlinuz-VERSION, boot/Image
and lib/modules/VERSION/vmlinuz, its configuration in boot/config-VERSION and
lib/modules/VERSION/config, its symbols in boot/System.map-VERSION and
lib/modules/VERSION/Module.symvers. What cannot be known is said, not guessed.

The exit status is 0 if nothing is known to fail, 3 if a module would, and 1 if the
check itself has failed.`,
		Example: `  kstage check --kernel arch/riscv/boot/Image hello.ko
  kstage check ./initrd-rv64
  kstage check --kernel-build ../linux --loaded a.ko b.ko
  kstage check initrd.img --kernel Image --json | jq 'select(.errno != 0)'`,
		Args: operands(cobra.MinimumNArgs(1), "name the modules to check: a directory with lib/modules, an initrd, or files"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.check.Raw = cmd.Flags().Changed("finit-flags")
			return c.run(cmd.Context(), cmd.UseLine(), args)
		},
	}
	flags := cmd.Flags()
	c.kernel.add(flags)
	flags.StringVar(&c.check.Cmdline, "cmdline", "", "the kernel's command line, `TEXT`, such as 'module.sig_enforce module_blacklist=foo'")
	flags.StringArrayVar(&c.loadedNames, "loaded", nil, "a module, `FILE.ko`, that is in the kernel before; may be given again, in the order of loading")
	flags.StringVar(&c.check.Params, "params", "", "the parameters that the module gets, `TEXT`, such as 'debug=1 mode=fast'")
	flags.IntVar(&c.check.Flags, "finit-flags", 0, "hand the file to the kernel as it is, with these flags of finit_module, `N`: 1 ignores symbol versions, 2 vermagic, 4 says that it is compressed; 0 none (without the option a tool unpacks it)")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "print notes too, and the modules that load")
	flags.Var(&c.maxModuleSize, "max-module-size", "largest unpacked module, such as 512M (default 1G)")
	c.maxSize.add(flags)
	u.jsonFlag(cmd)
	flags.Lookup("json").Usage = "print one JSON object a line for each module, on standard output"
	return cmd
}

func (c *checker) run(ctx context.Context, usage string, args []string) error {
	side, err := c.kernel.alone()
	if err != nil {
		return err
	}
	c.named = side
	c.check.MaxModuleSize = int64(c.maxModuleSize)
	if len(c.loadedNames) > 0 || c.check.Params != "" {
		for _, name := range args {
			if kind, err := operandKind(name); err == nil && kind != kindModule {
				return &usageError{line: usage, err: withHint(fmt.Errorf("--params and --loaded are for module files, and %s is none", name),
					"for a tree the parameters stand in etc/modprobe.d, and what is needed is loaded before")}
			}
		}
	}
	c.take = c.show
	if err := c.operands(ctx, args); err != nil {
		return err
	}
	if c.failed {
		return errProblems
	}
	return nil
}

// operands checks what the operands stand for; results go to take.
func (c *checker) operands(ctx context.Context, names []string) error {
	var files []string
	for _, name := range names {
		kind, err := operandKind(name)
		if err == nil && kind == kindModule {
			files = append(files, name)
		} else if err == nil {
			err = c.tree(ctx, name, kind)
		}
		if err != nil {
			return err
		}
	}
	return c.files(ctx, files)
}

// The kinds of operands.
const (
	kindDirectory = iota
	kindImage
	kindModule
)

// operandKind tells a module's file by its name, or by its first bytes.
func operandKind(name string) (int, error) {
	if name == "-" {
		return kindImage, nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return 0, withHint(openError(name, err), "name a directory with lib/modules, an initrd, or a module's file")
	case info.IsDir():
		return kindDirectory, nil
	case isModuleName(name):
		return kindModule, nil
	case !info.Mode().IsRegular():
		return kindImage, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err == nil && string(magic) == "\x7fELF" {
		return kindModule, nil
	}
	return kindImage, nil
}

// tree checks the modules of a directory or an initrd.
func (c *checker) tree(ctx context.Context, name string, kind int) error {
	if kind == kindDirectory {
		root, err := openRoot(name)
		if err != nil {
			return err
		}
		defer root.Close()
		return c.versions(ctx, name, root)
	}
	image, err := c.maxSize.unpack(ctx, name)
	if err != nil {
		return withHint(err, "modules are named as a directory with lib/modules, an initrd or files; a kernel is named with --kernel, a log goes to kstage explain")
	}
	defer image.close()
	return c.versions(ctx, shownName(name), image.tree.FS())
}

// versions checks the modules of each kernel version in a tree. A kernel that was
// named, and has a directory of its own, looks at no other.
func (c *checker) versions(ctx context.Context, name string, root fs.FS) error {
	dirs, err := depmod.Find(root)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return withHint(fmt.Errorf("%s: there is no lib/modules/VERSION in it", name),
			"name the root of the tree; modules that lie elsewhere are named one by one: kstage check DIR/*.ko")
	}
	defer boundMemory(checkMemory)()
	for _, dir := range c.ofKernel(dirs) {
		side, err := c.kernel.in(root, dir)
		if err != nil {
			return err
		}
		check := c.check
		check.Kernel = side.facts
		check.Firmware = stagedFirmware(root)
		results, err := check.Tree(ctx, root, dir, c.step("checking modules of "+path.Base(dir)))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.notes(side) // of which the modules themselves have told something
		if err := c.take(results, side); err != nil {
			return err
		}
	}
	return nil
}

// stagedFirmware is the directory of firmware of a tree, nil when it has none: then
// nobody has begun to stage firmware, and a line for each file would say only that.
func stagedFirmware(root fs.FS) fs.FS {
	if info, err := fs.Stat(root, "lib/firmware"); err != nil || !info.IsDir() {
		return nil
	}
	sub, err := fs.Sub(root, "lib/firmware")
	if err != nil {
		return nil
	}
	return sub
}

// ofKernel takes of the directories that of the kernel that was named, if it is
// among them.
func (c *checker) ofKernel(dirs []string) []string {
	release := c.named.facts.Release.Value
	for _, dir := range dirs {
		if path.Base(dir) == release {
			if len(dirs) > 1 && !c.json {
				c.line("note", "only the modules of %s are checked: that is the kernel's release, and it looks at no others", release)
			}
			return []string{dir}
		}
	}
	return dirs
}

// files checks files, each as the next one that insmod gets.
func (c *checker) files(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	c.notes(c.named)
	check := c.check
	check.Kernel = c.named.facts
	if err := c.load(check); err != nil {
		return err
	}
	var results []preflight.Result
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r, err := checkFile(name, func(f io.ReaderAt, size int64) preflight.Result { return check.File(name, f, size, c.loaded) })
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return c.take(results, c.named)
}

// load takes the modules of --loaded into the kernel.
func (c *checker) load(check preflight.Check) error {
	c.loaded = new(preflight.Loaded)
	check.Params = ""
	for _, name := range c.loadedNames {
		r, err := checkFile(name, func(f io.ReaderAt, size int64) preflight.Result { return check.Load(name, f, size, c.loaded) })
		if err != nil {
			return fmt.Errorf("--loaded: %w", err)
		}
		if r.Verdict == preflight.Fails && !c.json {
			c.line("warning", "--loaded %s: it would not load itself: %s", name, cmp.Or(strings.Join(r.Dmesg, "\n"), r.Errno.String()))
		}
	}
	return nil
}

func checkFile(name string, do func(io.ReaderAt, int64) preflight.Result) (preflight.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return preflight.Result{}, openError(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is no regular file")
	}
	if err != nil {
		return preflight.Result{}, fmt.Errorf("%s: %w", name, err)
	}
	return do(f, info.Size()), nil
}
