package kernel

import (
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// better tells whether a fact from o is to take the place of one from old.
func (o Origin) better(old Origin) bool { return o.Source > old.Source }

// set keeps the better one of two texts, and tells whether it is the new one.
func (t *Text) set(value string, from Origin) bool {
	if value == "" || !from.better(t.From) {
		return false
	}
	*t = Text{value, from}
	return true
}

// AddImage puts in what a kernel image tells: release, version magic, options by
// the loader's messages, embedded configuration, trusted certificates, the symbols that
// modules may use and, of riscv, the relocations that the loader handles, as far as they
// are found. file names it in reports.
func (f *Facts) AddImage(m *Image, file string) {
	from := Origin{Source: FromImage, File: file}
	f.setMachine(m.Machine, file)
	release := findRelease(m.Data)
	f.setRelease(release, from)
	f.Vermagic.set(findVermagic(m.Data, release), from)
	if f.messages == nil {
		f.messages = findMessages(m.Data)
		f.options = optionsByMessages(f.messages, m.Machine, file)
	}
	f.addEmbeddedConfig(m.Data, file)
	if keys, at := findKeys(m.Data); keys != nil && from.better(f.KeysFrom) {
		f.Keys, f.KeysFrom = keys, Origin{FromImage, file, fmt.Sprintf("certificates at byte %d of it", at)}
	}
	if size := structSize(m.Data, "module"); size != 0 && from.better(f.ModuleSizeFrom) {
		f.ModuleSize, f.ModuleSizeFrom = size, Origin{FromImage, file, "its BTF"}
	}
	f.addTables(m, file)
	f.complete()
}

// AddConfig puts in a configuration.
func (f *Facts) AddConfig(c Config, file string) {
	f.addConfig(c, Origin{Source: FromConfig, File: file})
	f.complete()
}

func (f *Facts) addConfig(c Config, from Origin) {
	if !from.better(f.ConfigFrom) {
		return
	}
	f.Config, f.ConfigFrom = c, from
	f.setMachine(configMachine(c), from.File)
}

// AddRelease puts in the kernel's release, such as the name of its directory below
// lib/modules. Besides it tells what mainline kernels of that version can relocate.
func (f *Facts) AddRelease(release string) {
	f.setRelease(release, Origin{Source: FromRelease})
	f.complete()
}

// AddModules puts in what the kernel's own modules have in common: the machine that
// they are for, their version magic and the size of their .gnu.linkonce.this_module
// in bytes. What is not known is 0 or empty. dir names them in reports.
func (f *Facts) AddModules(machine elf.Machine, vermagic string, size uint64, dir string) {
	from := Origin{Source: FromModules, File: dir}
	f.setMachine(machine, dir)
	release, _, _ := strings.Cut(vermagic, " ")
	f.setRelease(release, from)
	f.Vermagic.set(vermagic, from)
	if size != 0 && from.better(f.ModuleSizeFrom) {
		f.ModuleSize, f.ModuleSizeFrom = size, from
	}
	f.complete()
}

func (f *Facts) setMachine(m elf.Machine, file string) {
	switch {
	case f.Machine == 0:
		f.Machine = m
	case m != 0 && m != f.Machine:
		f.note(file, "", "it is for %s, the rest for %s", machineName(m, elf.ELFCLASS64), machineName(f.Machine, elf.ELFCLASS64))
	}
}

func (f *Facts) setRelease(release string, from Origin) {
	old := f.Release
	if old.Value != "" && release != "" && release != old.Value {
		f.note(from.File, "", "it is of kernel %s, not of %s (%v)", release, old.Value, old.From)
	}
	f.Release.set(release, from)
}

// complete does what takes more than one fact.
func (f *Facts) complete() {
	f.compareConfig()
	if from, types := mainlineRelocations(f.Machine, f.Release.Value); types != nil && f.RelocationsFrom.Source <= FromRelease {
		f.Relocations, f.RelocationsFrom = types, from
	}
}

// compareConfig notes where a configuration is not that of the image.
func (f *Facts) compareConfig() {
	if f.Config == nil || f.options == nil || f.compared == f.ConfigFrom {
		return
	}
	f.compared = f.ConfigFrom
	for _, name := range slices.Sorted(maps.Keys(f.options)) {
		value, ok := f.Config[name]
		if !ok {
			value = "n"
		}
		if o := f.options[name]; value != o.Value {
			f.note(f.ConfigFrom.File, "name the configuration that the kernel was built with", "it says %s=%s, which does not go with %v", name, value, o.From)
		}
	}
}
