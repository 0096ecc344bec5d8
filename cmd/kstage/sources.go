package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/internal/glob"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// sourceFlags are the sources' names and the options that change what they bring.
type sourceFlags struct {
	names []string

	addTexts, nodeTexts []string
	ownerText           string
	excludeTexts        []string
	chmodTexts          []string

	adds     []addition
	nodes    initrd.Tree
	owner    owner
	excludes []*exclusion
	chmods   []*modeChange
}

// An addition is something of the host that comes into the image.
type addition struct {
	text string // as given
	from string
	to   string // in the image, clean and relative
}

// owner is who owns what comes from a source.
type owner struct {
	keep, all bool // neither: 0:0 for what lies on this host, kept for the rest
	uid, gid  uint32
}

// An exclusion is a pattern, cut into its parts.
type exclusion struct {
	text  string
	parts []string
	used  bool
}

// A modeChange is the mode that the files have which match a pattern.
type modeChange struct {
	exclusion
	mode fs.FileMode
}

const sourceHelp = `A DST of --add that ends in / is the directory to put SRC into; . is the root. A
GLOB of --exclude without a slash matches names at any depth, one with a slash
paths from the root; * and ? match no slash, ** any number of directories. So does one
of --chmod; it changes regular files, and of several the last that matches counts: where
the modes are not to be relied on, --chmod '**:644' --chmod bin:755 --chmod init:755.

`

const (
	addForm   = "--add SRC:DST, for example --add ./motd:etc/motd"
	nodeForm  = "--node PATH:c|b:MAJOR:MINOR:MODE, for example --node dev/ttyS0:c:4:64:660"
	chmodForm = "--chmod GLOB:MODE, for example --chmod 'bin/*:755'"
)

func (f *sourceFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.addTexts, "add", nil, "put the file or directory SRC of this host at DST in the image: `SRC:DST`")
	flags.StringArrayVar(&f.nodeTexts, "node", nil, "make a device node, MODE in octal: `PATH:c|b:MAJOR:MINOR:MODE`")
	flags.StringVar(&f.ownerText, "owner", "", "`OWNER` of all files: keep, or UID:GID such as 0:0 (default 0:0 for directories of this host, keep for tars and images)")
	flags.StringArrayVar(&f.excludeTexts, "exclude", nil, "leave out what matches `GLOB`, and all below it: *.a at any depth, usr/share/doc only there")
	flags.StringArrayVar(&f.chmodTexts, "chmod", nil, "give the files that match GLOB this MODE, in octal: `GLOB:MODE`")
}

// settle reads the options' values.
func (f *sourceFlags) settle(usage string) error {
	if i := slices.Index(f.names, "-"); i >= 0 && slices.Contains(f.names[i+1:], "-") {
		return &usageError{line: usage, err: errors.New("standard input can be read only once")}
	}
	for _, text := range f.addTexts {
		if err := f.readAdd(text); err != nil {
			return &usageError{line: usage, err: withHint(fmt.Errorf("--add %s: %w", text, err), addForm)}
		}
	}
	for _, text := range f.nodeTexts {
		if err := f.readNode(text); err != nil {
			return &usageError{line: usage, err: withHint(fmt.Errorf("--node %s: %w", text, err), nodeForm)}
		}
	}
	for _, text := range f.excludeTexts {
		x, err := readExclusion(text)
		if err != nil {
			return &usageError{line: usage, err: withHint(fmt.Errorf("--exclude %s: %w", text, err),
				"--exclude '*.a' leaves out every file of that name, --exclude usr/share/doc that directory")}
		}
		f.excludes = append(f.excludes, x)
	}
	for _, text := range f.chmodTexts {
		c, err := readModeChange(text)
		if err != nil {
			return &usageError{line: usage, err: withHint(fmt.Errorf("--chmod %s: %w", text, err), chmodForm)}
		}
		f.chmods = append(f.chmods, c)
	}
	if err := f.owner.read(f.ownerText); err != nil {
		return &usageError{line: usage, err: withHint(fmt.Errorf("--owner %s: %w", f.ownerText, err),
			"--owner keep, or --owner UID:GID with numbers, for example --owner 0:0")}
	}
	return nil
}

// readAdd cuts at the last colon: a path of this host may have one.
func (f *sourceFlags) readAdd(text string) error {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return errors.New("there is no colon")
	}
	from, to := text[:at], text[at+1:]
	if from == "" || to == "" {
		return errors.New("one side of the colon is empty")
	}
	if strings.HasSuffix(to, "/") { // into that directory
		to += filepath.Base(from)
	}
	to, err := imagePath(to)
	f.adds = append(f.adds, addition{text, from, to})
	return err
}

// imagePath gives the clean form of a path in the image.
func imagePath(p string) (string, error) {
	if strings.Contains("/"+p+"/", "/../") {
		return "", fmt.Errorf("the path %q in the image has a dot-dot in it", p)
	}
	return path.Clean(strings.TrimLeft(p, "/")), nil
}

func (f *sourceFlags) readNode(text string) error {
	parts := strings.Split(text, ":")
	if len(parts) < 5 {
		return errors.New("five parts are wanted")
	}
	head, parts := parts[:len(parts)-4], parts[len(parts)-4:]
	p, err := imagePath(strings.Join(head, ":"))
	if err != nil {
		return err
	}
	types := map[string]fs.FileMode{"b": fs.ModeDevice, "c": fs.ModeDevice | fs.ModeCharDevice}
	typ, known := types[parts[0]]
	if !known {
		return fmt.Errorf("%q is no type of a device: c or b", parts[0])
	}
	var numbers [3]uint32
	for i, base := range []int{10, 10, 8} {
		n, err := strconv.ParseUint(parts[i+1], base, 32)
		if err != nil {
			return fmt.Errorf("%q is no %s", parts[i+1], []string{"major number", "minor number", "octal mode"}[i])
		}
		numbers[i] = uint32(n)
	}
	if numbers[2] > 0o777 {
		return fmt.Errorf("mode %s is beyond 777", parts[3])
	}
	return f.nodes.Put(initrd.Entry{Path: p, Mode: typ | fs.FileMode(numbers[2]), Major: numbers[0], Minor: numbers[1]})
}

func (o *owner) read(text string) error {
	switch text {
	case "":
		return nil
	case "keep":
		o.keep = true
		return nil
	}
	user, group, found := strings.Cut(text, ":")
	uid, uerr := strconv.ParseUint(user, 10, 32)
	gid, gerr := strconv.ParseUint(group, 10, 32)
	if !found || uerr != nil || gerr != nil {
		return errors.New("is neither keep nor two numbers")
	}
	o.all, o.uid, o.gid = true, uint32(uid), uint32(gid)
	return nil
}

// readExclusion cuts a pattern into its parts. One without a slash, but for the
// end, may lie at any depth.
func readExclusion(text string) (*exclusion, error) {
	parts, err := glob.Split(strings.TrimPrefix(text, "/"))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(strings.TrimSuffix(text, "/"), "/") {
		parts = append([]string{"**"}, parts...)
	}
	return &exclusion{text: text, parts: parts}, nil
}

func (x *exclusion) matches(parts []string) bool {
	found := glob.Match(x.parts, parts)
	x.used = x.used || found
	return found
}

func (f *sourceFlags) excluded(p string) bool {
	if len(f.excludes) == 0 || p == "." {
		return false
	}
	parts, excluded := strings.Split(p, "/"), false
	for _, x := range f.excludes {
		excluded = x.matches(parts) || excluded
	}
	return excluded
}

func readModeChange(text string) (*modeChange, error) {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return nil, errors.New("there is no colon")
	}
	mode, err := strconv.ParseUint(text[at+1:], 8, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is no octal mode", text[at+1:])
	}
	if mode > 0o777 {
		return nil, fmt.Errorf("mode %s is beyond 777", text[at+1:])
	}
	x, err := readExclusion(text[:at])
	if err != nil {
		return nil, err
	}
	x.text = text
	return &modeChange{*x, fs.FileMode(mode)}, nil
}

// chmod gives e, which lies at p, the mode that the last matching pattern says.
func (f *sourceFlags) chmod(e *initrd.Entry, p string) {
	if len(f.chmods) == 0 || !e.Mode.IsRegular() {
		return
	}
	parts := strings.Split(p, "/")
	for _, c := range f.chmods {
		if c.matches(parts) {
			e.Mode = c.mode
		}
	}
}

// buildLink matches the links that an installed kernel has to where it was built:
// they lead out of every image.
var buildLink = lazyregexp.New(`^(usr/)?lib/modules/[^/]+/(build|source)$`)
