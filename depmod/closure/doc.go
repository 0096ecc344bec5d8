// Package closure works out which kernel modules a choice takes: those that are
// named, and whatever they need, in an order in which they can be loaded.
//
// A [Catalog] is made of a tree of modules, as [depmod.Scan] reads it, and of the
// modprobe.d files that go with it. [Catalog.Resolve] takes choices: lines of text, as
// [Choice] describes them, a list of such lines ([ParseList]), or the modaliases of
// devices ([Devices]). To what they name it adds
//
//   - the modules whose symbols are needed,
//   - those of softdep lines, in modules and in modprobe.d, loaded before or after,
//   - those of weakdep lines, which the kernel may ask for at run time.
//
// The order is that of kmod's modprobe. What is part of the kernel is known from
// modules.builtin and modules.builtin.modinfo and is not looked for. For each module
// the [Set] says who wanted it.
package closure
