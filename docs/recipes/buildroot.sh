#!/bin/bash
# buildroot.md in a stand-in for Buildroot, which does in its order what Buildroot's
# linux/linux.mk, Makefile (target-finalize, target-post-image), fs/common.mk and
# fs/cpio/cpio.mk do.
. "$(dirname "$0")/blocks.sh"

makefiles=$(printf '%s\n' /usr/src/linux-headers-*-common | tail -n 1)
mkdir -p board output/{target/{boot,etc},images,build/linux,host/sbin} overlay
(cd board && files && ln -s "$(command -v kstage)" depmod)
root tree
version=$(basename tree/lib/modules/*)
linux=$PWD/output/build/linux

# what a kernel's build has left
mkdir -p "$linux"/include/{config,generated}
echo "include $makefiles/Makefile" >"$linux/Makefile"
echo CONFIG_MODULES=y | tee "$linux/.config" >"$linux/include/config/auto.conf"
echo "$version" >"$linux/include/config/kernel.release"
touch "$linux"/include/generated/{autoconf.h,rustc_cfg} "$linux"/modules.builtin{,.modinfo}
echo '0000000000000000 T _start' >"$linux/System.map"
cp -r "tree/lib/modules/$version/kernel/." "$linux"
find "$linux" -name '*.ko.xz' -exec xz -d {} +
# 6.1 calls depmod for a trial too
case $makefiles in *-6.1.*) ending=ko calls=2 ;; *) ending=o calls=1 ;; esac
(cd "$linux" && find . -name '*.ko' | sed "s,^\./,,; s,ko\$,$ending," | sort) >"$linux/modules.order"
cp "$KSTAGE_LAB/vmlinux" output/images/Image

# a module that comes after the kernel, as overlays are copied after packages
mkdir -p "overlay/lib/modules/$version/extra"
mv "$linux/fs/mbcache.ko" "overlay/lib/modules/$version/extra"
sed -i '/mbcache/d' "$linux/modules.order"

printf '#!/bin/sh\necho host-kmod >>%s/called\n' "$PWD" >output/host/sbin/depmod
chmod +x output/host/sbin/depmod
cat >Makefile <<'END'
export TARGET_DIR = $(CURDIR)/output/target
export HOST_DIR = $(CURDIR)/output/host
export BINARIES_DIR = $(CURDIR)/output/images
BR2_EXTERNAL_BOARD_PATH = $(CURDIR)/board
LINUX_MAKE_FLAGS = ARCH=riscv INSTALL_MOD_PATH=$(TARGET_DIR) DEPMOD=$(HOST_DIR)/sbin/depmod
-include $(EXTERNAL_MK)

all:
	$(MAKE) $(LINUX_MAKE_FLAGS) -C output/build/linux modules_install
	rm -f $(TARGET_DIR)/lib/modules/*/build $(TARGET_DIR)/lib/modules/*/source
	cp -r tree/bin tree/init tree/etc $(TARGET_DIR)
	cp -r overlay/. $(TARGET_DIR)
	board/post-build.sh $(TARGET_DIR)
	printf 'set -e\nchown -h -R 0:0 output/target\nchown 1000:100 output/target/etc/hostname\nmkdir -p output/target/dev\nmknod -m 0622 output/target/dev/console c 5 1\ncd output/target\nfind . | LC_ALL=C sort | cpio --quiet -o -H newc >$(BINARIES_DIR)/rootfs.cpio\n' >fakeroot.sh
	FAKEROOTDONTTRYCHOWN=1 fakeroot -- sh fakeroot.sh
	board/post-image.sh $(BINARIES_DIR)
END

dep=output/target/lib/modules/$version/modules.dep
holds 'without external.mk host-kmod is called' make
holds "$calls times" diff <(uniq -c called | xargs) <(echo "$calls host-kmod")
holds 'post-build.sh has indexed the module of the overlay' grep -q '^kernel/fs/ext4/ext4.ko:.* extra/mbcache.ko' "$dep"
rm -rf output/target/lib called
holds 'with external.mk' make EXTERNAL_MK=board/external.mk
fails 'host-kmod is not called' test -e called
image=output/images/initrd.img
holds 'the image has the index' kstage cat $image "lib/modules/$version/modules.dep"
listed() { kstage ls -l $image | grep -E "$1" | grep -E "$2"; }
holds 'the image has the device node of the archive' listed 'dev/console' '^crw--w--w-'
holds 'and its owners' listed 'etc/hostname' '1000[ :/]+100'
checked() { board/post-image.sh "$PWD/output/images" 2>&1 | grep "$1"; }
holds 'modules were checked for the kernel' checked "[0-9] load on $version"
holds 'rootfs.cpio packed by gzip is read as well' sh -c "gzip -k output/images/rootfs.cpio && kstage pack output/images/rootfs.cpio.gz -o again.img --kernel output/images/Image && cmp again.img $image"

mkdir dir
fakeroot -- sh -c 'mknod dir/null c 1 3 && test -c dir/null && kstage pack dir -o faked.img'
holds 'kstage does not see what fakeroot shows' sh -c "kstage ls -l faked.img null | grep '^-'"
