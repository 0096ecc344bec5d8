#!/bin/bash
# make-ninja.md with the real make and ninja.
. "$(dirname "$0")/blocks.sh"

root rootfs
files
VERSION=$(basename rootfs/lib/modules/*)
export VERSION
module=rootfs/lib/modules/$VERSION/kernel/fs/ext4/ext4.ko.xz

# Changes must come a tick of the file system's clock after what was made before.
changed() { sleep 0.05; "$@"; sleep 0.05; }
ninja_is_done() { ninja -n "$@" | grep 'no work to do'; }

# watched TEXT IS_DONE BUILD: whatever is changed makes the output out of date until it is built.
watched() {
  holds "$1: the first build makes it" $3
  holds "$1: then there is nothing to do" $2
  changed touch "$module"
  fails "$1: a touched file is noticed" $2
  holds "$1: built again" $3
  holds "$1: then there is nothing to do" $2
  changed cp "$module" "rootfs/lib/modules/$VERSION/kernel/lib/added.ko.xz"
  fails "$1: an added file is noticed" $2
  holds "$1: built again" $3
  changed rm "rootfs/lib/modules/$VERSION/kernel/lib/added.ko.xz"
  fails "$1: a removed file is noticed" $2
  holds "$1: built again" $3
  holds "$1: then there is nothing to do" $2
}

watched make 'make -q' make
watched ninja ninja_is_done ninja
cp "$module" hello.ko
watched 'modules.dep' "make -q -f index.mk" "make -f index.mk"

changed touch rootfs/bin rootfs/bin/busybox
holds 'modules.dep: files of other directories do not matter' make -q -f index.mk

holds 'a module of the build: the first build makes it' make -f module.mk
holds 'a module of the build: then there is nothing to do' make -q -f module.mk
changed touch hello.ko
fails 'a module of the build: it is noticed when it is newer' make -q -f module.mk

cp initrd.img before.img
changed touch rootfs/etc/hostname
holds 'a touched file: built again' make
holds 'a touched file makes the same image' cmp initrd.img before.img
changed touch 'rootfs/50%'
refused() { ! make >../said-by-make 2>&1 && grep -q 'cannot be told to make and ninja' ../said-by-make; }
holds 'a name that make cannot read is an error' refused
holds 'the old image is still there' cmp initrd.img before.img
rm 'rootfs/50%'

changed chmod 600 rootfs/etc/hostname
fails 'the error left the image out of date' make -q
holds 'it is built when the name is gone' make
changed chmod 644 rootfs/etc/hostname
holds 'a changed mode is not noticed' make -q

rm -f initrd.img
sed -i 's/pack rootfs/pack rootfs --strict/' Makefile
fails '--strict: warnings make make stop' make
fails '--strict: and it removes the image' test -e initrd.img
