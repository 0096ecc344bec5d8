package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/firmware"
	"github.com/kstage/kstage/initrd"
)

// firmwareFlags name where firmware comes from that the tree has not.
type firmwareFlags struct {
	dir  string
	open fs.FS // dir, nil without
}

func (f *firmwareFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "firmware", "", "take the firmware that the modules name from `DIR`, which is laid out as /lib/firmware")
}

// A firmwareReport is what --json says of the firmware that a kernel's modules name.
type firmwareReport struct {
	Added   []string `json:"added"`   // files and links from --firmware, below lib/firmware
	Missing []string `json:"missing"` // as the modules name them
}

// firmwarePlace is where the kernel looks for firmware.
const firmwarePlace = "lib/firmware"

// addFirmware brings along what the modules name and the tree has not. Where nothing of
// it was staged and no directory is given, nobody wants to hear what is missing.
func (p *packer) addFirmware(tree *initrd.Tree, kernels []*kernel) error {
	staged := stagedFirmware(tree.FS())
	if staged == nil && p.firmware.dir == "" {
		return nil
	}
	if err := p.openFirmware(); err != nil {
		return err
	}
	l := p.sources.layer("--firmware "+p.firmware.dir, firmwarePlace)
	for _, k := range kernels {
		k.Firmware = &firmwareReport{Added: []string{}, Missing: []string{}}
		missing := notFound(staged, k.Version, firmware.Names(k.tree.Modules))
		if p.firmware.open != nil {
			set := firmware.Find(p.firmware.open, k.Version, missingNames(missing))
			if err := p.takeFirmware(l, k, set.Files); err != nil {
				return err
			}
			missing = set.Missing
		}
		p.missingFirmware(k, missing)
	}
	if l.tree.Len() == 0 {
		return nil
	}
	err := tree.AddTree(firmwarePlace, l.tree)
	if err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	return nil
}

func (p *packer) openFirmware() (err error) {
	dir := p.firmware.dir
	if dir == "" {
		return nil
	}
	open, err := p.sources.open(dir)
	p.firmware.open = p.inputs.watch(dir, open)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("--firmware: %s: there is no such directory", dir), "a system has it as /lib/firmware")
	}
	if err != nil {
		return fmt.Errorf("--firmware: %w", err)
	}
	for _, below := range []string{"lib/firmware", "usr/lib/firmware"} {
		below = filepath.Join(dir, filepath.FromSlash(below))
		if info, err := os.Stat(below); err == nil && info.IsDir() {
			return withHint(fmt.Errorf("--firmware: %s is a whole tree, not a directory of firmware", dir), "--firmware "+below)
		}
	}
	return nil
}

// notFound gives what a directory has not; all if there is none.
func notFound(dir fs.FS, version string, names []firmware.Name) []firmware.Missing {
	if dir != nil {
		return firmware.Find(dir, version, names).Missing
	}
	var missing []firmware.Missing
	for _, name := range names {
		missing = append(missing, firmware.Missing{Name: name})
	}
	return missing
}

func missingNames(missing []firmware.Missing) []firmware.Name {
	var names []firmware.Name
	for _, m := range missing {
		names = append(names, m.Name)
	}
	return names
}

// takeFirmware puts files and links into a layer of the image.
func (p *packer) takeFirmware(l layer, k *kernel, files []firmware.File) error {
	for _, file := range files {
		k.Firmware.Added = append(k.Firmware.Added, file.Path)
		if file.Target == "" {
			p.inputs.add(within(p.firmware.dir, file.Path))
		}
		if _, err := l.tree.AddFile(file.Path, p.firmware.open, file.Path); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// missingFirmware tells what is not there. Many files are one of several alternatives, so
// that this need not hinder anything.
func (p *packer) missingFirmware(k *kernel, missing []firmware.Missing) {
	hint := "--firmware DIR takes firmware from a directory such as /lib/firmware"
	if p.firmware.dir != "" {
		hint = "a device may do without: drivers name all versions that they know; else add the file to " + p.firmware.dir
	}
	var problems []depmod.Problem
	for _, m := range missing {
		k.Firmware.Missing = append(k.Firmware.Missing, m.Name.Name)
		text := "firmware " + m.Name.Name + " is not there"
		if m.Why != "" {
			text += ": " + m.Why
		}
		if more := len(m.Name.Modules) - 1; more > 0 {
			text += fmt.Sprintf(" (named by %s more)", count(more, "module", "modules"))
		}
		problems = append(problems, depmod.Problem{Rule: "missing-firmware", Severity: depmod.Warning, Path: m.Name.Modules[0].Path, Text: text, Hint: hint})
	}
	p.ui.problems(k.Dir+"/", problems)
	k.Problems = append(k.Problems, problems...)
}
