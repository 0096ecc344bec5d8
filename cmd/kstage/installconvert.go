package main

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/modinfo/slim"
)

// convert packs the modules of the tree anew.
func (i *installer) convert(ctx context.Context) error {
	root, err := openRoot(i.base)
	if err != nil {
		return err
	}
	defer root.Close()
	var only []string
	if i.release != "" {
		only = []string{i.release}
	}
	dirs, err := versions(root, i.base, only)
	if err != nil {
		return err
	}
	i.options.LeaveBad = true
	var all []*staged
	for _, dir := range dirs {
		i.modules, err = install.ReadTree(root, dir)
		if errors.Is(err, install.ErrAmbiguous) {
			return withHint(err, "remove the one that is not wanted, or let kstage depmod -b "+i.base+" decide")
		}
		if err != nil {
			return err
		}
		s, err := i.open(path.Base(dir), dir)
		if err != nil {
			return err
		}
		if err := i.stage(ctx, s); err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, s := range all {
		if err := i.relink(s); err != nil {
			return err
		}
	}
	return i.finish(ctx, all)
}

// stripping has the modules stripped when they are staged in s. Those that cannot be
// stripped stay as they are.
func (i *installer) stripping(ctx context.Context, s *staged, o *install.Options) error {
	root, err := openRoot(i.base)
	if err != nil {
		return err
	}
	defer root.Close()
	flags := kernelFlags{build: i.index.kernelBuild}
	side, err := flags.in(root, s.Dir)
	if err != nil {
		return err
	}
	if why := i.strip.refusal(side); why != nil {
		if err := install.Check(ctx, i.modules, *o); err != nil {
			return err
		}
		signed := 0
		for _, m := range i.modules {
			if m.Signed {
				signed++
			}
		}
		if signed > 0 {
			return signaturesNeeded(s.Dir, signed, why)
		}
	}
	o.Strip = func(module []byte) ([]byte, error) {
		stripped, report, err := slim.Strip(module)
		if err != nil {
			s.unstripped.Add(1)
			return module, nil
		}
		if report.Unsigned {
			s.signatures.Add(1)
		}
		return stripped, nil
	}
	return nil
}

// relink lets links to modules follow them, once all have their new names.
func (i *installer) relink(s *staged) error {
	if i.options.Packing == nil {
		return nil
	}
	links, err := s.target.Relink(*i.options.Packing)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Dir, err)
	}
	s.Removed = append(s.Removed, links...)
	return nil
}
