package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/depmod/machine"
)

// machineFlags are the options that choose the modules of a machine.
type machineFlags struct {
	trees, captures, profiles []string
	skipped                   []depmod.Problem // lines of captures
}

// machineHelp explains them.
func machineHelp() string {
	var b strings.Builder
	b.WriteString(`The modules of a board are found by its device tree (--dtb), as the kernel finds them: each
node that is not disabled is matched with the aliases of the modules; or by what a running
board shows (--modalias-file), in a file made there with
  find /sys/devices -name modalias -exec cat {} +
Neither tells what is plugged in later, nor which file system the root has. A --profile
is a short list for that:
`)
	for _, p := range machine.Profiles() {
		fmt.Fprintf(&b, "  %-12s %s\n", p.Name, p.About)
	}
	return b.String()
}

func (f *machineFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.trees, "dtb", nil, "take the modules for the devices of a device tree, a .dtb `FILE`")
	flags.StringArrayVar(&f.captures, "modalias-file", nil, "take the modules for the modaliases in `FILE`")
	flags.StringSliceVar(&f.profiles, "profile", nil, "take the modules of a kind of machine or root file system: `NAME`, such as virt or ext4")
}

func (f *machineFlags) given() bool { return len(f.trees)+len(f.captures)+len(f.profiles) > 0 }

// choices reads what the options name.
func (f *machineFlags) choices() ([]closure.Choice, error) {
	var choices []closure.Choice
	f.skipped = nil
	for _, name := range f.profiles {
		p, err := machine.FindProfile(name)
		if err != nil {
			return nil, &usageError{line: "--profile NAME", err: err}
		}
		choices = append(choices, p.Choices...)
	}
	for _, name := range f.trees {
		some, err := devicesIn(name)
		if err != nil {
			return nil, err
		}
		choices = append(choices, some...)
	}
	for _, name := range f.captures {
		some, err := f.capture(name)
		if err != nil {
			return nil, err
		}
		choices = append(choices, some...)
	}
	return choices, nil
}

func devicesIn(name string) ([]closure.Choice, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--dtb: %w", err)
	}
	defer file.Close()
	choices, err := machine.DeviceTree(name, file)
	if err != nil {
		return nil, withHint(fmt.Errorf("--dtb: %w", err), "it must be a .dtb file, as make dtbs and the kernel's packages bring it; dtc makes one of a .dts")
	}
	return choices, nil
}

func (f *machineFlags) capture(name string) ([]closure.Choice, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--modalias-file: %w", err)
	}
	defer file.Close()
	choices, skipped, err := machine.Capture(name, file)
	if err != nil {
		return nil, withHint(fmt.Errorf("--modalias-file: %w", err), "make it on the board: find /sys/devices -name modalias -exec cat {} +")
	}
	f.skipped = append(f.skipped, skipped...)
	return choices, nil
}
