#!/bin/bash
# modules_install.md with the kernel's own Makefiles, of all linux-headers packages that are
# installed, and kmod 34's depmod to compare with.
. "$(dirname "$0")/blocks.sh"

root source
kernel=$(echo source/lib/modules/*/kernel)
release=6.12.0-recipe # modules need not be for it

# built MAKEFILES: what a kernel's build leaves in $LINUX, and that of a driver.
built() {
  LINUX=$PWD/linux
  mkdir -p linux/include/config linux/include/generated driver
  echo "include $1/Makefile" >linux/Makefile
  printf 'CONFIG_%s=y\n' MODULES BLK_DEV_INITRD RD_GZIP | tee linux/.config >linux/include/config/auto.conf
  echo "$release" >linux/include/config/kernel.release
  touch linux/include/generated/{autoconf.h,rustc_cfg} linux/modules.builtin linux/modules.builtin.modinfo
  echo '0000000000000000 T _start' >linux/System.map
  cp -r "../$kernel/." linux
  find linux -name '*.ko.xz' -exec xz -d {} +
  mv linux/fs/mbcache.ko driver/
  case $1 in *-6.1.*) ending=ko ;; *) ending=o ;; esac
  (cd linux && find . -name '*.ko' | sort | sed "s,^\./,,; s,ko\$,$ending,") >linux/modules.order
  echo "$PWD/driver/mbcache.$ending" >driver/modules.order
  export LINUX ARCH=riscv
}

found=0
for makefiles in /usr/src/linux-headers-*-common; do
  name=$(basename "$makefiles")
  mkdir "$name" && cd "$name"
  built "$makefiles"
  holds "$name: modules_install calls kstage" run depmod
  holds "$name: and so does M=" run outside
  mkdir -p "trial/lib/modules/$release"
  holds "$name: kstage takes part in the trial" ./depmod -b trial "$release"
  holds "$name: and passes it" test -e "trial/lib/modules/$release/modules.dep"
  mkdir kmod && ln -s "$KSTAGE_LAB/depmod-34" kmod/depmod
  holds "$name: kmod's depmod does the same" make -C "$LINUX" modules_install INSTALL_MOD_PATH="$PWD/rootfs-kmod" DEPMOD="$PWD/kmod/depmod"
  holds "$name: with M= too" make -C "$LINUX" M="$PWD/driver" modules_install INSTALL_MOD_DIR=updates INSTALL_MOD_PATH="$PWD/rootfs-kmod" DEPMOD="$PWD/kmod/depmod"
  holds "$name: all files are the same" diff -r rootfs rootfs-kmod
  holds "$name: ext4 needs the module from outside" grep -q '^kernel/fs/ext4/ext4.ko:.* updates/mbcache.ko' "rootfs/lib/modules/$release/modules.dep"
  fails "$name: DEPMOD of two words does not work" make -C "$LINUX" modules_install INSTALL_MOD_PATH="$PWD/two" DEPMOD="kstage depmod"
  holds "$name: kstage install" run install
  rm -f rootfs{,-too}/lib/modules/*/{build,source} # 6.1 makes source too
  holds "$name: installs the same" diff -r rootfs rootfs-too
  holds "$name: DEPMOD=true, and pack" run pack
  fails "$name: the tree has no index" test -e "plain/lib/modules/$release/modules.dep"
  holds "$name: the image has one" kstage cat initrd.img "lib/modules/$release/modules.dep"
  rm linux/System.map
  holds "$name: without System.map" make -C "$LINUX" modules_install INSTALL_MOD_PATH="$PWD/without" DEPMOD="$PWD/depmod"
  fails "$name: depmod is passed over" test -e "without/lib/modules/$release/modules.dep"
  cd ..
  found=$((found + 1))
done
[ "$found" -gt 0 ] || { echo "there are no /usr/src/linux-headers-*-common: install a linux-headers package" >&2; exit 1; }
