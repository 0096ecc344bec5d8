package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/internal/lazyregexp"
	"github.com/kstage/kstage/modinfo"
)

// errDifferent ends a diff that has found something.
var errDifferent = fmt.Errorf("the two differ: %w", errProblems)

// differ is one run of kstage diff.
type differ struct {
	*ui
	limit   maxSize
	a, b    side
	modules modinfo.Reader
	result  diffReport
}

// A side is one of the two that are compared.
type side struct {
	tree  *initrd.Tree
	image bool // it has owners, and a root of its own
	close func()
}

// diffReport is what --json prints.
type diffReport struct {
	A           string       `json:"a"`
	B           string       `json:"b"`
	Versions    []string     `json:"versions,omitempty"` // directories that are compared with each other
	Added       int          `json:"added"`
	Removed     int          `json:"removed"`
	Changed     int          `json:"changed"`
	Differences []difference `json:"differences"`
}

// A difference is one between two entries.
type difference struct {
	Change  string   `json:"change"` // added, removed, changed
	Path    string   `json:"path"`
	PathB64 string   `json:"path_base64,omitempty"` // if it is no UTF-8
	Fields  []change `json:"fields,omitempty"`
}

// A change is one of a property; of a content both are empty.
type change struct {
	Field string `json:"field"` // type, mode, owner, device, target, size, content; of modules also vermagic, version, depends
	Old   string `json:"old"`
	New   string `json:"new"`
}

func newDiff(u *ui) *cobra.Command {
	d := &differ{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "diff A B",
		Short:                 "Tell what differs between two initrds or directories",
		Long: `Compare A with B, each an initrd or a directory: what the kernel would unpack, sorted
by path. A line begins with + for what only B has, - for what only A has and ~ for
what changed: type, mode, device, target, size or content; between two images also
the owner. Times are not compared. One of the two may be - for standard input.

Of a kernel module's change the vermagic, version and depends fields are told. Where
A and B have modules of one kernel version each, and not of the same, the two
lib/modules/VERSION are compared with each other.

The exit status is 0 if there is no difference, 3 if there is one, 1 after an error.`,
		Example: `  kstage diff old.img new.img
  kstage diff ./rootfs initrd.img
  kstage diff old.img new.img --json | jq '.differences[].path'`,
		Args: operands(cobra.ExactArgs(2), "name the two to compare"),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0], args[1]) },
	}
	d.limit.add(cmd.Flags())
	u.jsonFlag(cmd)
	return cmd
}

func (d *differ) run(cmd *cobra.Command, a, b string) (err error) {
	if a == "-" && b == "-" {
		return &usageError{line: cmd.UseLine(), err: errors.New("only one of the two can be standard input")}
	}
	if d.a, err = d.open(cmd.Context(), a); err != nil {
		return err
	}
	defer d.a.close()
	if d.b, err = d.open(cmd.Context(), b); err != nil {
		return err
	}
	defer d.b.close()
	d.result = diffReport{A: a, B: b, Differences: []difference{}}
	if err := d.compare(cmd.Context()); err != nil {
		return err
	}
	if err := d.print(); err != nil {
		return err
	}
	if len(d.result.Differences) > 0 || d.result.Versions != nil {
		return errDifferent
	}
	return nil
}

func (d *differ) open(ctx context.Context, name string) (side, error) {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		image, err := d.limit.unpack(ctx, name)
		if err != nil {
			return side{}, err
		}
		return side{image.tree, true, image.close}, nil
	}
	root, err := openRoot(name)
	if err != nil {
		return side{}, err
	}
	tree := new(initrd.Tree)
	if _, err := tree.AddFS(root); err != nil {
		_ = root.Close() // has only been read from
		return side{}, fmt.Errorf("%s: %w", name, err)
	}
	return side{tree, false, func() { _ = root.Close() }}, nil
}

// compare goes through both trees by path.
func (d *differ) compare(ctx context.Context) error {
	to := d.pairVersions()
	left := make(map[string]initrd.Entry)
	for e := range d.a.tree.All() {
		left[to(e.Path)] = e
	}
	found := make(map[string]difference)
	for e := range d.b.tree.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		old, ok := left[e.Path]
		delete(left, e.Path)
		switch {
		case !ok:
			found[e.Path] = difference{Change: "added", Path: e.Path}
			d.result.Added++
		default:
			fields, err := d.fields(&old, &e)
			if err != nil {
				return err
			}
			if len(fields) > 0 {
				found[e.Path] = difference{Change: "changed", Path: e.Path, Fields: fields}
				d.result.Changed++
			}
		}
	}
	for key, e := range left {
		found[key] = difference{Change: "removed", Path: e.Path}
		d.result.Removed++
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		one := found[key]
		one.PathB64 = notText(one.Path)
		d.result.Differences = append(d.result.Differences, one)
	}
	return nil
}

var versionDir = lazyregexp.New(`^(?:usr/)?lib/modules/[^/]+$`)

// pairVersions gives A's paths as they would be if its only lib/modules/VERSION had
// the name of B's only one.
func (d *differ) pairVersions() func(string) string {
	a, b := d.a.version(), d.b.version()
	if a == "" || b == "" || a == b || path.Dir(a) != path.Dir(b) {
		return func(p string) string { return p }
	}
	d.result.Versions = []string{a, b}
	return func(p string) string {
		if rest, ok := strings.CutPrefix(p, a); ok && (rest == "" || rest[0] == '/') {
			return b + rest
		}
		return p
	}
}

// version is the only module directory; "" for none or several.
func (s side) version() string {
	only := ""
	for e := range s.tree.All() {
		if !e.Mode.IsDir() || !versionDir().MatchString(e.Path) {
			continue
		}
		if only != "" {
			return ""
		}
		only = e.Path
	}
	return only
}

// fields compares two entries of the same path.
func (d *differ) fields(a, b *initrd.Entry) ([]change, error) {
	if a.Path == "." && !(d.a.image && d.b.image) { // a directory's own mode is not part of it
		return nil, nil
	}
	if a.Mode.Type() != b.Mode.Type() {
		return []change{{"type", typeWord(a.Mode), typeWord(b.Mode)}}, nil
	}
	var all []change
	add := func(field, old, now string) {
		if old != now {
			all = append(all, change{field, old, now})
		}
	}
	if a.Mode.Type() != fs.ModeSymlink {
		add("mode", permText(a.Mode), permText(b.Mode))
	}
	if d.a.image && d.b.image {
		add("owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	}
	add("target", a.Target, b.Target)
	if a.Mode&fs.ModeDevice != 0 {
		add("device", fmt.Sprintf("%d:%d", a.Major, a.Minor), fmt.Sprintf("%d:%d", b.Major, b.Minor))
	}
	if !a.Mode.IsRegular() {
		return all, nil
	}
	contents, err := d.contents(a, b)
	return append(all, contents...), err
}

// permText is a mode as chmod takes it.
func permText(m fs.FileMode) string {
	bits := uint32(m.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&bit != 0 {
			bits |= 0o1000 << i
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// contents compares two files.
func (d *differ) contents(a, b *initrd.Entry) ([]change, error) {
	old, err := contentOf(a)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	now, err := contentOf(b)
	if err != nil {
		return nil, err
	}
	defer now.Close()
	if a.Size == b.Size {
		if same, err := equal(old, now); err != nil || same {
			return nil, err
		}
	}
	all := d.moduleFields(a, b, old, now)
	if a.Size != b.Size {
		all = append(all, change{"size", fmt.Sprint(a.Size), fmt.Sprint(b.Size)})
	}
	if len(all) == 0 {
		all = []change{{Field: "content"}}
	}
	return all, nil
}

func contentOf(e *initrd.Entry) (io.ReadCloser, error) {
	if e.Open == nil {
		return io.NopCloser(strings.NewReader("")), nil
	}
	f, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", escape(e.Path), err)
	}
	return f, nil
}

// equal compares what two readers give.
func equal(a, b io.Reader) (bool, error) {
	one, two := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, one)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		m, berr := io.ReadFull(b, two)
		if berr != nil && berr != io.EOF && berr != io.ErrUnexpectedEOF {
			return false, berr
		}
		if !bytes.Equal(one[:n], two[:m]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}

// moduleEnding matches the file of a kernel module; what is in brackets is how it is
// compressed.
var moduleEnding = lazyregexp.New(`\.ko(?:\.(gz|xz|zst))?$`)

// moduleFields compares what two modules say of themselves. Files that are none, or
// cannot be read as such, have nothing to say.
func (d *differ) moduleFields(a, b *initrd.Entry, old, now io.Reader) []change {
	from, ok := old.(io.ReaderAt)
	to, also := now.(io.ReaderAt)
	if !ok || !also || !moduleEnding().MatchString(a.Path) || !moduleEnding().MatchString(b.Path) {
		return nil
	}
	before, err := d.modules.Read(from, a.Size)
	if err != nil {
		return nil
	}
	after, err := d.modules.Read(to, b.Size)
	if err != nil {
		return nil
	}
	var all []change
	for _, key := range []string{"vermagic", "version", "depends"} {
		old, _ := before.Get(key)
		now, _ := after.Get(key)
		if old != now {
			all = append(all, change{key, old, now})
		}
	}
	return all
}

// print tells of all differences.
func (d *differ) print() error {
	r := &d.result
	if d.json {
		return d.report(r)
	}
	if r.Versions != nil {
		d.line("note", "%s is compared with %s", r.Versions[0], r.Versions[1])
	}
	signs := map[string]string{"added": "+ ", "removed": "- ", "changed": "~ "}
	out := bufio.NewWriter(d.out)
	for _, one := range r.Differences {
		out.WriteString(signs[one.Change] + escape(one.Path))
		for i, c := range one.Fields {
			out.WriteString([]string{"  ", "; "}[min(i, 1)] + c.String())
		}
		out.WriteByte('\n')
	}
	if err := out.Flush(); err != nil {
		return err
	}
	d.say("%d added, %d removed, %d changed", r.Added, r.Removed, r.Changed)
	return nil
}

func (c change) String() string {
	if c.Field == "content" {
		return "content"
	}
	none := func(s string) string { return cmp.Or(escape(strings.TrimSpace(s)), "none") }
	return c.Field + " " + none(c.Old) + " → " + none(c.New)
}
