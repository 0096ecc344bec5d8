package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
)

// indexFlags are the options of every command that indexes modules.
type indexFlags struct {
	kernelBuild   string
	maxModuleSize byteSize
	strict        bool
	noCache       bool
	inputs        *inputs // keeps what is read

	config  []string       // depmod.d files of this host instead of the tree's own
	options depmod.Options // what kstage depmod asks for besides
	// choose, if set, leaves in the kernel's tree what is wanted of it
	choose func(root fs.FS, k *kernel) error
	// out, if set, is below which root the index will be written. Where it is there
	// already it need not be made, and the kernel has no files.
	out string
}

func (f *indexFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kernelBuild, "kernel-build", "", "take missing modules.order, modules.builtin and modules.builtin.modinfo from the kernel's build `DIR`")
	flags.Var(&f.maxModuleSize, "max-module-size", "largest unpacked module, such as 512M (default 1G)")
	cacheFlag(flags, &f.noCache)
	flags.BoolVar(&f.strict, "strict", false, "exit with 3 when a warning or an error was found")
}

// A kernel is one kernel version below a root, indexed.
type kernel struct {
	Version  string            `json:"version"`
	Dir      string            `json:"dir"`
	Modules  int               `json:"modules"`
	Made     map[string]string `json:"made,omitempty"` // list → what it was made from
	Problems []depmod.Problem  `json:"problems"`
	Chosen   *choiceReport     `json:"chosen,omitempty"` // when not all modules were wanted
	Stripped *stripReport      `json:"stripped,omitempty"`
	Check    *checkReport      `json:"check,omitempty"`    // when the kernel is known
	Firmware *firmwareReport   `json:"firmware,omitempty"` // when some is staged or looked for

	tree      *depmod.Tree
	cache     *moduleCache
	files     []depmod.File
	checkedBy *kernelSide
}

// indexMemory is when the garbage collector begins to work harder: two workers
// that unpack modules leave large buffers behind. indexGrowth is how far the heap
// grows before, in percent; with plain modules it does not come to that.
const (
	indexMemory = 128 << 20
	indexGrowth = 800
)

// boundMemory holds while modules are read; the returned function ends it.
func boundMemory(most int64) (restore func()) {
	limit, growth := debug.SetMemoryLimit(-1), debug.SetGCPercent(indexGrowth)
	debug.SetMemoryLimit(min(most, limit))
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(growth)
	}
}

// index indexes the modules below dirs, one kernel version each.
func (f *indexFlags) index(ctx context.Context, u *ui, root fs.FS, dirs []string) ([]*kernel, error) {
	defer boundMemory(indexMemory)()
	build, release, err := f.openBuild(dirs)
	if err != nil {
		return nil, err
	}
	var kernels []*kernel
	for _, dir := range dirs {
		o := f.options
		o.Complete, o.MaxModuleSize, o.Progress = true, int64(f.maxModuleSize), u.step("reading modules of "+path.Base(dir))
		if path.Base(dir) == release {
			o.KernelBuild = build
		}
		var problems []depmod.Problem
		if o.Config, problems, err = f.readConfig(root, path.Base(dir)); err != nil {
			return nil, err
		}
		k, err := f.indexOne(ctx, root, dir, o)
		if err != nil {
			return nil, err
		}
		k.Problems = append(problems, k.Problems...)
		u.problems(k.Dir+"/", k.Problems)
		kernels = append(kernels, k)
	}
	return kernels, nil
}

// readConfig reads depmod.d. It is the tree's own, so that the outcome does not
// depend on the host; -C names files of the host.
func (f *indexFlags) readConfig(root fs.FS, version string) (depmod.Config, []depmod.Problem, error) {
	if len(f.config) == 0 {
		return depmod.ReadConfig(root, depmod.ConfigPaths, version)
	}
	return depmod.ReadConfig(f.inputs.watch("", hostFS()), hostPaths(f.config), version)
}

func (f *indexFlags) indexOne(ctx context.Context, root fs.FS, dir string, o depmod.Options) (*kernel, error) {
	cache := newModuleCache(dir, f.noCache)
	o.Cache = cache.facts
	if f.out != "" {
		o.Same = func(part depmod.Part, from depmod.Sum) bool {
			return cache.hasMade(part, from, filepath.Join(f.out, filepath.FromSlash(dir)))
		}
	}
	tree, err := depmod.Scan(ctx, root, dir, o)
	if err != nil {
		return nil, cycleHint(dir, err)
	}
	k := &kernel{tree: tree, cache: cache, Version: tree.Version, Dir: tree.Dir, Made: make(map[string]string)}
	if f.out == "" {
		cache.save()
	}
	if tree.AllSame() {
		k.Modules, k.Problems = len(tree.Modules), append([]depmod.Problem{}, tree.Problems...)
		return k, nil
	}
	if err := allUnreadable(tree); err != nil {
		return nil, err
	}
	if f.choose != nil {
		if err := f.choose(root, k); err != nil {
			return nil, err
		}
	}
	files, problems := k.tree.Files()
	if len(problems) > 0 {
		k.tree.Made = depmod.Sums{} // they are to be told each time
	}
	k.files, k.Problems = files, slices.Concat([]depmod.Problem{}, k.tree.Problems, k.Problems, problems)
	k.Modules = len(k.tree.Modules)
	for _, file := range files {
		if file.Made != "" {
			k.Made[file.Name] = file.Made
		}
	}
	return k, nil
}

// cycleHint says what to do about modules that need each other.
func cycleHint(dir string, err error) error {
	var cycle *depmod.CycleError
	if errors.As(err, &cycle) {
		return withHint(fmt.Errorf("%s: %w", dir, err), "a symbol that two modules need from each other must move to a third one")
	}
	return err
}

// allUnreadable refuses a tree of which not one module could be read: its index
// would be empty, and nobody would know until the board stands there.
func allUnreadable(tree *depmod.Tree) error {
	var first error
	for _, m := range tree.Modules {
		if m.Info != nil {
			return nil
		}
	}
	for _, p := range tree.Problems {
		if p.Rule == depmod.RuleModule {
			first = fmt.Errorf("%s/%s: none of the %s can be read; this one: %w", tree.Dir, p.Path,
				count(len(tree.Modules), "module", "modules"), p.Err)
			return withHint(first, p.Hint)
		}
	}
	return nil
}

// openBuild opens the kernel's build directory and finds out which of the
// versions in dirs it built.
func (f *indexFlags) openBuild(dirs []string) (fs.FS, string, error) {
	if f.kernelBuild == "" {
		return nil, "", nil
	}
	build := f.inputs.watch(f.kernelBuild, os.DirFS(f.kernelBuild))
	if info, err := os.Stat(f.kernelBuild); err != nil || !info.IsDir() {
		return nil, "", &usageError{line: "--kernel-build DIR", err: fmt.Errorf("--kernel-build %s is not a directory", f.kernelBuild)}
	}
	var versions []string
	for _, dir := range dirs {
		versions = append(versions, path.Base(dir))
	}
	data, err := fs.ReadFile(build, "include/config/kernel.release")
	if errors.Is(err, fs.ErrNotExist) && len(versions) == 1 {
		return build, versions[0], nil // an installed subset of a build directory
	}
	if err != nil {
		return nil, "", withHint(fmt.Errorf("kernel build: which kernel it built cannot be read: %w", err),
			"name the directory in which make was run (O=), after make modules")
	}
	release := strings.TrimSpace(string(data))
	if !slices.Contains(versions, release) {
		return nil, "", withHint(fmt.Errorf("kernel build: %s built %s, the tree has modules for %s", f.kernelBuild, release, strings.Join(versions, ", ")),
			"name the build directory of the kernel that will load these modules")
	}
	return build, release, nil
}

// verdict is what --strict makes of the findings.
func (f *indexFlags) verdict(kernels []*kernel) error {
	for _, k := range kernels {
		if f.strict && k.Check != nil && k.Check.Fails+k.Check.Crashes > 0 {
			return errProblems
		}
		for _, p := range k.Problems {
			if f.strict && p.Severity > depmod.Info {
				return errProblems
			}
		}
	}
	return nil
}

// summary is a line about each kernel version.
func (u *ui) kernels(kernels []*kernel) {
	for _, k := range kernels {
		modules := count(k.Modules, "module", "modules")
		if k.Chosen != nil {
			modules = fmt.Sprintf("%d of %s", k.Modules, count(k.Chosen.Of, "module", "modules"))
		}
		text := fmt.Sprintf("  %s: %s indexed", k.Version, modules)
		var made []string
		for name := range k.Made {
			made = append(made, name)
		}
		if slices.Sort(made); len(made) > 0 {
			text += ", made " + strings.Join(made, ", ")
		}
		u.say("%s", text)
		if k.Stripped != nil {
			u.say("  %s: %s", k.Version, k.Stripped.say())
		}
		if k.Firmware != nil && len(k.Firmware.Added) > 0 {
			u.say("  %s of firmware added", count(len(k.Firmware.Added), "file", "files"))
		}
		if k.Check != nil {
			u.say("  %s", k.Check.say(k.checkedBy))
		}
	}
}

// byteSize is a number of bytes as an option: 1048576, 512K, 64M, 1G.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return fmt.Sprint(int64(*b))
}

// Type names the value in the help.
func (b *byteSize) Type() string { return "SIZE" }

// Set reads the value.
func (b *byteSize) Set(s string) error {
	digits, shift := s, 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		for _, suffix := range []string{unit, unit + "iB", strings.ToLower(unit)} {
			if d, ok := strings.CutSuffix(s, suffix); ok {
				digits, shift = d, 10*(i+1)
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return fmt.Errorf("%q is not a size such as 65536, 512K, 64M or 1G", s)
	}
	*b = byteSize(n << shift)
	return nil
}
