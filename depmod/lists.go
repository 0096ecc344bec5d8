package depmod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
)

// The three lists that the kernel's own build writes. depmod reads them, it
// never makes them; an initrd without them has unordered modules and built-in
// ones that nobody knows.
const (
	orderName       = "modules.order"           // lines "kernel/fs/ext4/ext4.ko"
	builtinName     = "modules.builtin"         // lines "kernel/lib/crc16.ko"
	builtinInfoName = "modules.builtin.modinfo" // NUL-ended "crc16.license=GPL"
)

// maxList bounds one of these lists; a large kernel's have some 100 KiB.
const maxList = 64 << 20

// A source is one of the lists: as found, or as made.
type source struct {
	data    []byte
	present bool
	made    string // from what it was made; "" when the tree had it
}

// A list is one of the three, with its name.
type list struct {
	name string
	*source
}

func (t *Tree) lists() []list {
	return []list{{orderName, &t.order}, {builtinName, &t.builtin}, {builtinInfoName, &t.builtinInfo}}
}

// readLists reads those of the three lists that are there.
func (t *Tree) readLists(fsys fs.FS) error {
	for _, l := range t.lists() {
		data, err := readList(fsys, path.Join(t.Dir, l.name))
		switch {
		case err == nil:
			*l.source = source{data: data, present: true}
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("modules: %w", err)
		}
	}
	return nil
}

// completeLists makes those that are missing, and puts the modules into order.
func (t *Tree) completeLists(o Options) error {
	if o.Complete {
		// no kernel is without built-in modules: an empty list was made by somebody
		for _, s := range []*source{&t.builtin, &t.builtinInfo} {
			s.present = len(s.data) > 0
		}
		if err := t.fromBuild(o.KernelBuild); err != nil {
			return err
		}
		t.fromTree(o.KernelBuild != nil)
	}
	if !t.order.present && !o.Complete {
		t.Problems = append(t.Problems, missing(RuleOrder, orderName))
	}
	lines, line, err := parseOrder(t.order.data)
	if err != nil {
		p := failure(RuleOrder, orderName, err)
		p.Hint = "copy modules.order from the kernel's build again"
		p.kmod = fmt.Sprintf("/%s:%d corrupted line misses '\\n'", orderName, line)
		t.Problems = append(t.Problems, p)
	}
	sortModules(t.Modules, lines, t.compat < 34)
	if o.Complete && !t.order.present {
		t.makeOrder()
	}
	return nil
}

// missing tells that a list is not there, for callers who want nothing made.
func missing(rule, name string) Problem {
	return Problem{Rule: rule, Severity: Warning, Path: name, Text: "is missing", Err: fs.ErrNotExist}
}

func readList(fsys fs.FS, name string) ([]byte, error) {
	real, err := chroot.Resolve(fsys, name)
	if err != nil {
		return nil, err
	}
	info, err := fs.Lstat(fsys, real)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxList {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a file of at most 64 MiB")}
	}
	return fs.ReadFile(fsys, real)
}

// fromBuild takes missing lists from a kernel's build directory, written as
// "make modules_install" writes them.
func (t *Tree) fromBuild(build fs.FS) error {
	if build == nil {
		return nil
	}
	if release, err := fs.ReadFile(build, "include/config/kernel.release"); err == nil {
		if r := strings.TrimSpace(string(release)); r != t.Version {
			return fmt.Errorf("kernel build: it built %s, the modules are for %s", r, t.Version)
		}
	}
	for _, l := range t.lists() {
		if l.present {
			continue
		}
		data, err := fs.ReadFile(build, l.name)
		if errors.Is(err, fs.ErrNotExist) {
			t.Problems = append(t.Problems, warning("kernel-build", l.name,
				"run make modules in that directory first", "the kernel build has no %s", l.name))
			continue
		}
		if err != nil {
			return fmt.Errorf("kernel build: %w", err)
		}
		if l.name == orderName {
			data = InstalledOrder(data)
		}
		*l.source = source{data: data, present: true, made: "the kernel build"}
	}
	return nil
}

// InstalledOrder turns a build's modules.order into the installed one. Builds
// name the objects: fs/ext4/ext4.o since 6.2, fs/ext4/ext4.ko since 5.3; before
// that the line was kernel/fs/ext4/ext4.ko already.
func InstalledOrder(data []byte) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(data)) {
		name := strings.TrimSuffix(line, "\n")
		if object, ok := strings.CutSuffix(name, ".o"); ok {
			name = object + ".ko"
		}
		if !strings.HasPrefix(name, "kernel/") {
			name = "kernel/" + name
		}
		out.WriteString(name + "\n")
	}
	return out.Bytes()
}

// fromTree makes what is still missing from what the tree itself tells. It
// invents nothing: where nothing is known the list is empty, and a warning says
// what that costs and where the real one is to be had.
func (t *Tree) fromTree(buildGiven bool) {
	cure := "name the kernel's build directory with --kernel-build, or copy the two files from the kernel's package"
	if buildGiven {
		cure = "copy the two files from the kernel's package"
	}
	if !t.builtin.present && t.builtinInfo.present {
		t.builtin = source{data: builtinFromInfo(t.builtinInfo.data), present: true, made: "modules.builtin.modinfo"}
	}
	if !t.builtin.present {
		t.builtin = source{present: true, made: "nothing"}
		t.Problems = append(t.Problems, warning(RuleBuiltin, builtinName, cure,
			"is not known and left empty: modprobe will not know which modules are built into the kernel"))
	}
	if !t.builtinInfo.present {
		t.builtinInfo = source{present: true, made: "nothing"}
		t.Problems = append(t.Problems, warning(RuleBuiltinInfo, builtinInfoName, cure,
			"is not known and left empty: modprobe will not know the aliases of built-in modules"))
	}
}

// builtinFromInfo lists the modules of the file= entries of
// modules.builtin.modinfo, as the kernel's build does it: an entry may hold
// several paths, repeated neighbours count once.
func builtinFromInfo(info []byte) []byte {
	var out bytes.Buffer
	last := ""
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		_, keyed, _ := bytes.Cut(entry, []byte("."))
		files, ok := bytes.CutPrefix(keyed, []byte("file="))
		if !ok {
			continue
		}
		for file := range strings.FieldsSeq(string(files)) {
			if file != last {
				fmt.Fprintf(&out, "kernel/%s.ko\n", file)
			}
			last = file
		}
	}
	return out.Bytes()
}

// makeOrder writes down the order in which depmod falls back to without
// modules.order, so that a later depmod run changes nothing.
func (t *Tree) makeOrder() {
	var out bytes.Buffer
	for _, m := range t.Modules {
		out.WriteString(orderKey(m.Path) + "\n")
	}
	t.order = source{data: out.Bytes(), present: true, made: "the order that depmod falls back to"}
	if len(t.Modules) > 1 {
		t.Problems = append(t.Problems, Problem{Rule: RuleOrder, Severity: Info, Path: orderName,
			Text: "was missing; made in the order that depmod falls back to (where several drivers match a device, the kernel's own order may prefer another)",
			Hint: "--kernel-build DIR takes the order from the kernel's build directory"})
	}
}
