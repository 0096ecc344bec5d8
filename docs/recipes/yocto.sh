#!/bin/bash
# The command of yocto.md's class, with its variables put in, on an archive made as
# image_types.bbclass makes it. No bitbake is run.
. "$(dirname "$0")/blocks.sh"

files
root rootfs
version=$(basename rootfs/lib/modules/*)
DEPLOY_DIR_IMAGE=$PWD/deploy
IMAGE_NAME=board-initramfs-qemuriscv64.rootfs
type=cpio
echo kernel/crypto/crc32c_generic.ko >"rootfs/lib/modules/$version/modules.builtin" # as every kernel brings it
printf 'crc32c_generic.file=crypto/crc32c_generic\0' >"rootfs/lib/modules/$version/modules.builtin.modinfo"
mkdir deploy
cp "$KSTAGE_LAB/vmlinux" deploy/Image
fakeroot -- sh -c "chown -hR 0:0 rootfs && chown 1000:100 rootfs/etc/hostname && mkdir rootfs/dev && mknod -m 600 rootfs/dev/ttyS0 c 4 64 &&
  cd rootfs && find . | sort | cpio --quiet --reproducible -o -H newc >../$IMAGE_NAME.cpio"

# value NAME FILE: what a line NAME = "..." gives, its ${...} put in
value() { eval "echo $(sed -n "s/^$1 = //p" "$2")"; }
KSTAGE_ARGS=$(value KSTAGE_ARGS recipes-core/images/board-initramfs.inc)
command=$(value CONVERSION_CMD:kstage classes/image_types_kstage.bbclass)
holds 'the command has its arguments' test "$command" = "kstage pack $IMAGE_NAME.cpio -o $IMAGE_NAME.cpio.kstage --kernel $DEPLOY_DIR_IMAGE/Image --strict"

holds 'the command makes the image' sh -c "$command"
image=$IMAGE_NAME.cpio.kstage
holds 'it is one that the kernel unpacks' kstage verify "$image"
holds 'it has the index' kstage cat "$image" "lib/modules/$version/modules.dep"
listed() { kstage ls -l "$image" | grep "$1" | grep -E "$2"; }
holds 'it has the device nodes of the archive' listed dev/ttyS0 '^crw-------.* 4, +64'
holds 'it has the owners of the archive' listed etc/hostname '1000 +100'
cp "$image" first
holds 'the same again' sh -c "$command"
holds 'gives the same bytes' cmp "$image" first

printf 'not a module' >broken.ko
fakeroot -- sh -c "mkdir -p add/lib/modules/$version/updates && cp broken.ko add/lib/modules/$version/updates/ &&
  cd add && find lib | cpio --quiet --reproducible -oA -H newc -F ../$IMAGE_NAME.cpio"
fails 'with a module that would not load the task fails' sh -c "$command"
