package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"io/fs"
	"path"
	"strings"
)

// started are the programs that the kernel starts by itself, and what becomes of it when
// it cannot. Where it looks for modprobe is CONFIG_MODPROBE_PATH.
var started = []struct{ name, without string }{
	{"init", "the kernel cannot start it"},
	{"sbin/modprobe", "the kernel cannot start it to load a module, and tries for a minute and more"},
}

// foreignPrograms tells of those programs of a tree, and of the interpreters of such
// scripts, that are for another machine, this host's busybox for example. The kernel says
// no more than that it found none, or nothing.
func foreignPrograms(root fs.FS, machine string, tell func(name, text string)) {
	for _, program := range started {
		name := program.name
		head := beginningIn(root, name)
		if line, isScript := bytes.CutPrefix(head, []byte("#!")); isScript {
			line, _, _ = bytes.Cut(line, []byte("\n"))
			words := strings.Fields(string(line))
			if len(words) == 0 {
				continue
			}
			name = strings.TrimPrefix(path.Clean(words[0]), "/")
			head = beginningIn(root, name)
		}
		if its := elfMachine(head); its != "" && its != machine {
			tell(name, "is a program for "+its+": "+program.without)
		}
	}
}

// beginningIn reads the first bytes of a file in a tree, as far as they are there.
func beginningIn(root fs.FS, name string) []byte {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := io.ReadFull(f, b) // too few are none that are looked for
	return b[:n]
}

// elfMachine names the machine of a program; empty when it is no ELF file.
func elfMachine(head []byte) string {
	if len(head) < 20 || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	return machineName(elf.Machine(order.Uint16(head[18:])), elf.Class(head[elf.EI_CLASS]))
}

// machineName is "riscv64", "x86_64" and so on.
func machineName(machine elf.Machine, class elf.Class) string {
	if machine == elf.EM_RISCV {
		return map[elf.Class]string{elf.ELFCLASS32: "riscv32", elf.ELFCLASS64: "riscv64"}[class]
	}
	return strings.ToLower(strings.TrimPrefix(machine.String(), "EM_"))
}

// machineOf names the machine that all the modules are for; empty when there are none, or
// they differ.
func machineOf(kernels []*kernel) string {
	found := ""
	for _, k := range kernels {
		for _, m := range k.tree.Modules {
			if m.Info == nil {
				continue
			}
			its := machineName(m.Info.Machine, m.Info.Class)
			if found != "" && its != found {
				return ""
			}
			found = its
		}
	}
	return found
}
