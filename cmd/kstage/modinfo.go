package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/modinfo"
)

func newModinfo(u *ui) *cobra.Command {
	return &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "modinfo FILE…",
		Short:                 "Show what kernel module files say about themselves",
		Example:               `  kstage modinfo drivers/net/foo.ko lib/modules/6.12.0/updates/bar.ko.xz`,
		Args:                  operands(cobra.MinimumNArgs(1), "name at least one module file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs error
			for _, path := range args {
				m, err := modinfo.ReadFile(path)
				if err != nil {
					errs = errors.Join(errs, err)
					continue
				}
				if err := u.module(path, m); err != nil {
					return err
				}
			}
			return errs
		},
	}
}

// module prints a module's fields, then what it offers and needs.
func (u *ui) module(path string, m *modinfo.Module) error {
	w := bufio.NewWriter(u.out)
	field := func(key, value string) { fmt.Fprintf(w, "%-15s %s\n", key+":", value) }
	field("filename", path)
	for _, f := range m.Fields {
		field(f.Key, f.Value)
	}
	for _, e := range m.Exports {
		field("exports", e.Name)
	}
	for _, i := range m.Imports {
		if i.Bind <= modinfo.Weak {
			field("needs", i.Name)
		}
	}
	return w.Flush()
}
