// Package initrd turns a tree of files into an image a Linux kernel unpacks as
// its first root file system: cpio archives in the newc format, one behind the
// other, compressed or not. It knows nothing of kernel modules.
//
// A [Tree] holds the entries. [Tree.AddFS] fills it from a directory,
// [Tree.AddArchive] from a tar or another image, [Tree.AddTree] and [Tree.Put]
// lay further entries over what is there, [Tree.FS] shows it as a file system,
// and [WriteFile] or [Write] makes the image. The contents of files are opened
// only then, one at a time; those of an archive wait in a [Spool].
//
// The same tree and options give the same bytes, whatever the host, the clock,
// the user, the number of processors or the order the entries came in.
//
// The kernel drops what it cannot place without a word: an entry whose
// directory is missing, a device with a body, a name with a part of more than
// 255 bytes. So whatever it would drop is an error here, and WriteFile reads
// the finished image back before it gives it its name. Facts about the
// unpacker are from the kernel's init/initramfs.c (6.12 and 7.2).
package initrd
