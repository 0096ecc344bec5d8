#!/bin/bash
# dracut.md with the real dracut, and the result in a real kernel.
. "$(dirname "$0")/blocks.sh"

# The overlay has an ext4 of its own, and what the riscv64 kernel can run instead of
# this host's programs: modprobe too, which the kernel itself starts.
root sysroot
modules=$(echo sysroot/lib/modules/*)
VERSION=$(basename "$modules")
export VERSION
mkdir -p overlay/bin overlay/sbin "overlay/lib/modules/$VERSION/updates" settings/etc
cp "$modules/kernel/fs/ext4/ext4.ko.xz" "overlay/lib/modules/$VERSION/updates/"
mv sysroot/bin/busybox overlay/bin/
ln -s /bin/busybox overlay/sbin/modprobe
printf '#!/bin/busybox sh\nbusybox modprobe ext4 && echo ext4 is loaded\nbusybox poweroff -f\n' >overlay/try
chmod +x overlay/try
echo board >settings/etc/hostname
cp "$KSTAGE_LAB/vmlinux" Image

in_dep() { kstage cat "$1" "usr/lib/modules/$VERSION/modules.dep" | grep -q "$2"; }

holds 'kstage indexes the modules' run index
holds 'dracut makes an image of them' run dracut
holds 'with what they need, found by the indexes' in_dep dracut.img '^kernel/fs/ext4/ext4.ko.xz: .*kernel/fs/jbd2/jbd2.ko.xz'
holds 'its depmod was kstage: that of this kmod knows no weakdep' kstage cat dracut.img "usr/lib/modules/$VERSION/modules.weakdep"
holds 'ls, verify, check and report take it' run look
holds 'an overlay is added' run add
holds 'its modules are indexed with those of the image' in_dep board.img '^updates/ext4.ko.xz: .*kernel/fs/jbd2/jbd2.ko.xz'
holds 'and a kernel loads one' kstage boot board.img --kernel Image --append rdinit=/try --expect 'ext4 is loaded' --timeout 2m
holds 'an image is appended' run append
kstage cat both.img etc/hostname >hostname
holds 'what is in it counts' cmp hostname settings/etc/hostname
holds 'the first one is as it was' cmp -n "$(stat -c %s dracut.img)" dracut.img both.img
