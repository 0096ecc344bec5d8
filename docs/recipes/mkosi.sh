#!/bin/bash
# mkosi.md with mkosi 25 and a tree of files alone.
. "$(dirname "$0")/blocks.sh"

# mkosi is that of Debian 13, which the lab's own apt can bring to Debian 12 as well.
fetch() {
  local lab=$KSTAGE_LAB/apt-amd64
  local apt=(-o "Dir::State::Lists=$lab/lists" -o "Dir::Etc::SourceList=$lab/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::Cache=$lab/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root
    -o APT::Architecture=amd64 -o APT::Architectures=amd64)
  apt-get "${apt[@]}" download -qq mkosi || { apt-get "${apt[@]}" update -qq && apt-get "${apt[@]}" download -qq mkosi; } || return
  dpkg-deb -x mkosi_*.deb mkosi
}
(cd "$scratch" && fetch) || { echo "mkosi of Debian 13 cannot be had" >&2; exit 1; }
mkdir "$scratch/bin"
printf '#!/bin/sh\nPYTHONPATH=%s exec /usr/bin/python3 -m mkosi "$@"\n' "$scratch/mkosi/usr/lib/python3/dist-packages" >"$scratch/bin/mkosi"
chmod +x "$scratch/bin/mkosi"
PATH=$scratch/bin:$PATH

root tree
mkdir -p mkosi.skeleton/etc mkosi.skeleton/usr/lib mkosi.extra/usr tools
printf 'ID=board\nNAME=board\nVERSION_ID=1\n' >mkosi.skeleton/usr/lib/os-release
ln -s usr/lib mkosi.skeleton/lib
mv tree/lib mkosi.extra/usr/
mv tree/bin mkosi.extra/usr/
printf '#!/usr/bin/busybox sh\nbusybox modprobe ext4 && echo ext4 is loaded\nbusybox poweroff -f\n' >mkosi.extra/init
chmod +x mkosi.extra/init
cp "$(command -v kstage)" tools/
cp "$KSTAGE_LAB/vmlinux" Image
files

holds 'mkosi makes the tree and has kstage pack it' run build
cp "$scratch/said" log
holds 'the modules were checked with the kernel' grep -q 'modules: .* load on' log
holds 'a kernel boots it and loads a module' run boot
fails 'the tree has no index: kstage does not change it' test -e out/board/usr/lib/modules/*/modules.dep
holds 'kstage packs the tree that mkosi left' kstage pack out/board -o again.img
