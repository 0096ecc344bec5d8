package main

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"github.com/kstage/kstage/depmod/preflight"
	"github.com/kstage/kstage/initrd"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
)

// A checkReport is what pack says of the modules of one kernel that it knows.
type checkReport struct {
	Against []string     `json:"against"` // the files that the kernel is known from
	Modules int          `json:"modules"`
	Loads   int          `json:"loads"`
	Fails   int          `json:"fails"`
	Crashes int          `json:"crashes"`
	Unknown int          `json:"unknown"`
	Failing []resultJSON `json:"failing"`
}

// kernelSides tells what is known of each kernel, in the order of kernels.
func (p *packer) kernelSides(root fs.FS, kernels []*kernel) ([]*kernelSide, error) {
	flags := kernelFlags{image: p.kernelImage, config: p.compress.configPath, build: p.index.kernelBuild, inputs: p.inputs}
	if flags.image == "" {
		flags.image = p.format.kernel
	}
	named, err := flags.alone()
	if err != nil {
		return nil, err
	}
	var sides []*kernelSide
	for _, k := range kernels {
		flags := flags
		if release := named.facts.Release.Value; release != "" && release != k.Version && hasVersion(kernels, release) {
			flags = kernelFlags{} // those files are of the other one
		}
		side, err := flags.in(root, k.Dir)
		if err != nil {
			return nil, err
		}
		sides = append(sides, side)
	}
	return sides, nil
}

// slimAndCheck strips the modules, if that is asked for, and checks those of each
// kernel that is known as kstage check does. Modules that would not load are warnings.
func (p *packer) slimAndCheck(ctx context.Context, tree *initrd.Tree, kernels []*kernel) error {
	sides, err := p.kernelSides(tree.FS(), kernels)
	if err != nil {
		return err
	}
	for i, k := range kernels {
		if p.strip.strip {
			if err := p.stripModules(ctx, tree, k, sides[i]); err != nil {
				return err
			}
		}
		if !sides[i].known() {
			continue
		}
		if err := p.preflightOne(ctx, tree.FS(), k, sides[i]); err != nil {
			return err
		}
	}
	return nil
}

func hasVersion(kernels []*kernel, version string) bool {
	for _, k := range kernels {
		if k.Version == version {
			return true
		}
	}
	return false
}

// known tells whether enough is known of a kernel to judge modules by: its image or
// its symbols. A configuration alone tells too little.
func (s *kernelSide) known() bool {
	return s.facts.Exports != nil || s.facts.Vermagic.From.Source == kernelinfo.FromImage
}

func (p *packer) preflightOne(ctx context.Context, root fs.FS, k *kernel, side *kernelSide) error {
	label := "warning"
	if p.index.strict {
		label = "error"
	}
	check := preflight.Check{Kernel: side.facts, MaxModuleSize: int64(p.index.maxModuleSize)}
	results, err := check.Tree(ctx, root, k.Dir, p.step("checking modules of "+path.Base(k.Dir)))
	if err != nil {
		return fmt.Errorf("%s: %w", k.Dir, err)
	}
	report := &checkReport{Against: side.files, Modules: len(results), Failing: []resultJSON{}}
	printer, alike := checker{ui: p.ui, label: label}, make(alike)
	for _, r := range results {
		switch r.Verdict {
		case preflight.Loads:
			report.Loads++
			continue
		case preflight.Unknown:
			report.Unknown++
			continue
		case preflight.Fails:
			report.Fails++
		case preflight.Crashes:
			report.Crashes++
		}
		report.Failing = append(report.Failing, newResultJSON(r))
		if !p.json {
			printer.failure(r, side, alike)
		}
	}
	if !p.json {
		alike.more(p.ui)
	}
	k.Check, k.checkedBy = report, side
	return nil
}

// say words the check for the summary.
func (c *checkReport) say(side *kernelSide) string {
	counts := [4]int{preflight.Loads: c.Loads, preflight.Fails: c.Fails, preflight.Crashes: c.Crashes, preflight.Unknown: c.Unknown}
	return checkSummary(c.Modules, counts, side)
}
