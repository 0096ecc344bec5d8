// Package uboot writes and reads the headers that U-Boot wants around an
// initrd: the legacy uImage header ([Legacy]) and the flattened image tree
// ([FIT]). It does not look into what they carry.
//
// U-Boot's booti takes a bare image only together with its size; a wrapped one
// brings its size and a checksum along. Both wrappers call their content
// uncompressed, whatever it is: U-Boot then hands it on as it is, and the
// kernel unpacks it.
//
// [Open] takes a wrapper off again, whoever made it. The facts are from
// U-Boot's include/image.h, boot/image-fit.c and doc/usage/fit, and from boots
// of U-Boot 2023.01 and 2025.01 in qemu.
package uboot
