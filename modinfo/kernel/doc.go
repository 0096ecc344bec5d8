// Package kernel tells what is known of a Linux kernel besides its modules: which
// machine and release it is, how its module loader was configured, which symbols it has
// for modules and which keys it trusts.
//
// [ReadImage] opens a kernel's image in the formats that it comes in, those packed with
// lzo left out. [Facts] gathers what an image tells, and what there is beside it:
// configuration, Module.symvers, System.map, a build directory, the release alone. Nearly
// each fact has an [Origin], so that a prediction can say what it rests on. The image is
// right where others differ: distributions and makers of boards change what a version had.
//
// Everything is read as if it were written to do harm: sizes are limited, and memory
// follows what is really there, not what a header claims.
package kernel
