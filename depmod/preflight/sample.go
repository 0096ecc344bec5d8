package preflight

import (
	"debug/elf"
	"path"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// samples is how many modules are looked at for what they have in common. Of the
// modules of a kernel all agree (spec: 3103 of 3103); the majority is for trees to which
// others were added.
const samples = 16

// A sample is what the modules of one kernel have in common.
type sample struct {
	machine  elf.Machine
	vermagic string
	size     uint64
	flags    uint32
}

// learn takes from the kernel's own modules what is not known of the kernel.
func (t *tree) learn() {
	facts := kernel.Facts{}
	if t.check.Kernel != nil {
		facts = *t.check.Kernel
	}
	version := path.Base(t.dir)
	if facts.Release.Value != "" {
		version = facts.Release.Value
	}
	votes := make(map[sample]int)
	var best sample
	var u modinfo.Unpacker
	step := max(1, len(t.modules)/samples)
	for i := 0; i < len(t.modules); i += step {
		s, ok := t.sample(&u, t.modules[i], version)
		if !ok {
			continue
		}
		if votes[s]++; votes[s] > votes[best] {
			best = s
		}
	}
	if votes[best] > 0 && (facts.Machine == 0 || facts.Machine == best.machine) {
		facts.AddModules(best.machine, best.vermagic, best.size, t.dir)
		facts.ELFFlags, facts.ELFFlagsFrom = best.flags, kernel.Origin{Source: kernel.FromModules, File: t.dir}
	}
	t.check.Kernel = &facts
}

// sample looks at one module; not ok when it is none of the kernel's own.
func (t *tree) sample(u *modinfo.Unpacker, tm *treeModule, version string) (sample, bool) {
	f, err := tm.file.Open()
	if err != nil {
		return sample{}, false
	}
	defer f.Close()
	r, size, err := readerAt(f)
	if err != nil {
		return sample{}, false
	}
	data, _, err := u.Unpack(r, size)
	if err != nil {
		return sample{}, false
	}
	object, err := elf64.Parse(data)
	if err != nil {
		return sample{}, false
	}
	m := &module{elf: object, data: data}
	m.readFields()
	_, intree := m.modinfo["intree"]
	room := object.Section(thisModule)
	release, _, _ := strings.Cut(m.modinfo["vermagic"], " ")
	if !intree || room == nil || release != version {
		return sample{}, false
	}
	return sample{object.Machine, m.modinfo["vermagic"], room.Size, object.Flags}, true
}
