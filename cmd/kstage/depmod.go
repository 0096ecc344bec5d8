package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/atomicfile"
)

func newDepmod(u *ui) *cobra.Command {
	var base, out string
	var index indexFlags
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "depmod [-b ROOT] [-o OUTDIR] [VERSION]",
		Short:                 "Write the indexes of kernel modules (modules.dep and the rest)",
		Long: `Write the indexes of the kernel modules below ROOT: modules.dep, modules.alias
and the other files that modprobe and udev read, the same bytes as kmod's depmod
writes. modules.order, modules.builtin and modules.builtin.modinfo are made where
they are missing.`,
		Example: `  kstage depmod -b ./initrd-rv64
  kstage depmod -b ./rootfs -o ./out 6.12.0 --kernel-build ../linux`,
		Args: operands(cobra.MaximumNArgs(1), ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, err := openRoot(base)
			if err != nil {
				return err
			}
			defer root.Close()
			dirs, err := versions(root.FS(), base, args)
			if err != nil {
				return err
			}
			kernels, err := index.index(cmd.Context(), u, root.FS(), dirs)
			if err != nil {
				return err
			}
			if out == "" {
				out = base
			}
			for _, k := range kernels {
				if err := k.write(out); err != nil {
					return err
				}
			}
			u.say("%s", out)
			u.kernels(kernels)
			return errors.Join(u.report(map[string]any{"kernels": kernels}), index.verdict(kernels))
		},
	}
	cmd.Flags().StringVarP(&base, "basedir", "b", "/", "the `ROOT` below which lib/modules stands")
	cmd.Flags().StringVarP(&out, "outdir", "o", "", "write below `OUTDIR` instead of ROOT")
	index.add(cmd.Flags())
	u.jsonFlag(cmd)
	return cmd
}

// openRoot opens a directory that no link inside it can lead out of.
func openRoot(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("%s: there is no such directory", dir), "name the directory that holds init, bin and lib/modules")
	}
	if err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, fmt.Errorf("%s: is not a directory", dir)
		}
		return nil, err
	}
	return root, nil
}

// versions finds the module directories that are meant: all, or that of one
// version.
func versions(root fs.FS, base string, args []string) ([]string, error) {
	dirs, err := depmod.Find(root)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, withHint(fmt.Errorf("%s: there is no lib/modules/VERSION and no usr/lib/modules/VERSION", base),
			"-b names the root of the tree, not the module directory")
	}
	if len(args) == 0 {
		return dirs, nil
	}
	var there, chosen []string
	for _, dir := range dirs {
		there = append(there, path.Base(dir))
		if path.Base(dir) == args[0] {
			chosen = append(chosen, dir)
		}
	}
	if len(chosen) == 0 {
		return nil, withHint(fmt.Errorf("%s: there are no modules of %s", base, args[0]), "there are: "+strings.Join(there, ", "))
	}
	return chosen, nil
}

// write puts the files of one kernel into its module directory below out, each
// of them whole or not at all.
func (k *kernel) write(out string) error {
	dir := filepath.Join(out, filepath.FromSlash(k.Dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range k.files {
		if err := atomicfile.Write(filepath.Join(dir, file.Name), 0o644, func(f *os.File) error { return file.Write(f) }); err != nil {
			return fmt.Errorf("%s: %w", file.Name, err)
		}
	}
	return nil
}
