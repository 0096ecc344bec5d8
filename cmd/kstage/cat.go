package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
)

func newCat(u *ui) *cobra.Command {
	var limit maxSize
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "cat IMAGE PATH...",
		Short:                 "Print files of an initrd",
		Long: `Print the contents of files as they are once the kernel has unpacked the image: the
last one of a name counts, and symbolic links are followed inside the image. IMAGE
is any initrd; - is standard input.`,
		Example: `  kstage cat initrd.img init
  kstage cat initrd.img lib/modules/6.12.0/modules.dep | grep virtio`,
		Args: operands(cobra.MinimumNArgs(2), "name the image and a path in it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			image, err := limit.unpack(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer image.close()
			fsys := image.tree.FS()
			for _, name := range args[1:] { // all are there before any is printed
				if err := readable(image.tree, fsys, name); err != nil {
					return err
				}
			}
			for _, name := range args[1:] {
				if err := printFile(u.out, fsys, cleanName(name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	limit.add(cmd.Flags())
	return cmd
}

// readable tells why a path has no content to print.
func readable(tree *initrd.Tree, fsys fs.FS, name string) error {
	p := cleanName(name)
	info, err := fs.Stat(fsys, p)
	e, listed := tree.Get(p)
	switch {
	case err != nil && listed && e.Mode.Type() == fs.ModeSymlink:
		return fmt.Errorf("%s: is a symbolic link to %s, which is not in the image", escape(p), escape(e.Target))
	case errors.Is(err, fs.ErrNotExist):
		return withHint(fmt.Errorf("%s: is not in the image", escape(p)), nearest(tree, p))
	case err != nil:
		return err
	case info.IsDir():
		return withHint(fmt.Errorf("%s: is a directory", escape(p)), "kstage ls IMAGE "+escape(p)+" lists it")
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file (%s)", escape(p), typeWord(info.Mode()))
	}
	return nil
}

func printFile(out io.Writer, fsys fs.FS, p string) error {
	f, err := fsys.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

// nearest gives the paths that look most like one that is not there: first those
// that end in the same name, then those that differ in few letters.
func nearest(tree *initrd.Tree, p string) string {
	type candidate struct {
		path string
		far  int
	}
	var all []candidate
	for e := range tree.All() {
		if e.Path == "." {
			continue
		}
		far := distance(path.Base(p), path.Base(e.Path)) * 2
		if path.Dir(e.Path) != path.Dir(p) {
			far++
		}
		if far <= 2*(1+len(path.Base(p))/4)+1 {
			all = append(all, candidate{e.Path, far})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	var names []string
	for _, c := range all[:min(3, len(all))] {
		names = append(names, escape(c.path))
	}
	if names == nil {
		return "kstage ls lists what there is"
	}
	return "there is " + strings.Join(names, ", ")
}

// distance counts the letters to add, take away or change to get from a to b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, corner+1, row[j]+1)
		}
	}
	return row[len(b)]
}
