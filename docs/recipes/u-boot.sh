#!/bin/bash
# u-boot.md with Debian's U-Boot in qemu.
. "$(dirname "$0")/blocks.sh"
PATH=$PATH:/sbin:/usr/sbin

root rootfs
rm rootfs/init
cat >rootfs/init <<'INIT'
#!/bin/busybox sh
busybox modprobe ext4 && echo "init has loaded ext4"
busybox poweroff -f
INIT
chmod +x rootfs/init
cp "$KSTAGE_LAB/vmlinux" Image
qemu-system-riscv64 -M virt,dumpdtb=board.dtb -m 512M >/dev/null 2>&1
files

# boots TEXT: U-Boot finds what is on disk.img, and init says its word.
boots() {
  block run qemu >"$scratch/qemu"
  timeout 120 bash "$scratch/qemu" </dev/null >console 2>&1 || { cat console >&2; return 1; }
  holds "$1" grep -q '^init has loaded ext4' console || { cat console >&2; return 1; }
}

fit_boots() { # NAME
  cp board.itb boot/
  rm disk.img
  run disk
  boots "U-Boot boots $1 by boot.scr"
  holds "it has checked three sums of $1" test "$(grep -c 'sha256+ OK' console)" = 3
}

sums() { dumpimage -l board.itb | grep 'Hash value' | sort; }

holds 'kstage makes the initrd' run pack
holds 'a disk is made without root' run disk
boots 'U-Boot boots it by extlinux.conf'
holds 'it has read that file' grep -q 'Found /extlinux/extlinux.conf' console
rm -r boot/extlinux boot/Image

holds 'mkimage makes the script' run script
holds 'kstage makes a FIT' run fit
holds 'kstage verify reads the FIT' kstage verify board.itb
fit_boots "kstage's FIT"
sums >kstage.sums
holds 'mkimage makes a FIT' run its
sums >mkimage.sums
holds 'of the same kernel, initrd and device tree' cmp kstage.sums mkimage.sums
fit_boots "mkimage's FIT"
