// Package modinfo reads one Linux kernel module file: what it says about
// itself, what it exports and what it needs, and who signed it.
//
// A module is an ELF object, plain or packed with gzip, xz or zstd; the packing
// is told by the first bytes, never by the name. Any machine, both word sizes
// and both byte orders are understood. Only the few sections that carry facts
// are looked at, because a riscv64 module is mostly relaxation labels: 27
// million of them in a distribution's tree. A [Reader] can be told to leave out
// more; then a plain file is read in a few small pieces, and of an xz file of
// several blocks only those blocks are unpacked that hold one.
//
// The fields of modules that are built into the kernel stand in a file of their
// own; see [BuiltinFields].
//
// Every number in a file is a claim until it was checked against the bytes that
// are really there, so a damaged or hostile file costs an error and nothing
// else: memory stays below a small multiple of the file's size plus
// [Reader.MaxSize].
package modinfo
