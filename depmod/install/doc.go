// Package install stages kernel modules into a tree, as the kernel's own "make
// modules_install" does (scripts/Makefile.modinst), without make, cp, strip, gzip, xz
// and zstd.
//
// Three things say what is to be staged: [ReadBuild] takes the modules that a kernel
// build lists, [ReadDir] those that lie below a directory, [ReadTree] those that are in
// the tree already, which converts it. [Check] tells beforehand what of it cannot be
// read, [Stage] writes.
//
// A module file is replaced in one step, and one that is right already is left alone,
// so that a second run changes nothing. What takes the place of another file, such as
// foo.ko.zst that of foo.ko.xz, is complete before the other goes.
//
// The index of the modules is a matter of package depmod.
package install
