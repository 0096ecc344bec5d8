// Package depmod indexes a directory of kernel modules: it works out which
// module needs which, and writes the modules.* files that modprobe, udev and
// initrd builders read, byte for byte as kmod's depmod does.
//
// [Scan] reads the modules of one kernel version from a file system;
// [Tree.Files] gives the index files of what it found. A missing modules.order,
// modules.builtin or modules.builtin.modinfo can be made on the way, see
// [Options.Complete]. Nothing is written by this package itself.
//
// Findings that do not stop the work (a module that cannot be read, a link that
// leads nowhere) are returned as [Problem] values.
package depmod
