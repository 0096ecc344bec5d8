#!/bin/bash
# bazel.md with Debian's Bazel.
. "$(dirname "$0")/blocks.sh"

# A workspace with real modules. Bazel's server is ended before its files go.
servers=()
trap 'for s in "${servers[@]}"; do (cd "$s" && bazel shutdown >/dev/null 2>&1); done; chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
mkdir -p "$scratch/bin"
cat >"$scratch/bin/bazel" <<BAZEL
#!/bin/sh
exec $(command -v bazel) --output_user_root="$scratch/bazel" \
  --host_jvm_args=-XX:TieredStopAtLevel=1 --host_jvm_args=-XX:+UseSerialGC "\$@"
BAZEL
chmod +x "$scratch/bin/bazel"
PATH=$scratch/bin:$PATH

root rootfs
rm rootfs/init
version=$(basename "$KSTAGE_LAB"/tree-xz/lib/modules/*)
cp "$KSTAGE_LAB/tree-xz/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "rootfs/lib/modules/$version"
tar -cf rootfs.tar --owner=0 --group=0 -C rootfs .
rm -r rootfs
printf '#!/bin/busybox sh\nbusybox modprobe ext4\n' >init.sh
echo board >hostname
cp "$KSTAGE_LAB/vmlinux" Image
files
cp "$(command -v kstage)" kstage/kstage
touch WORKSPACE
servers+=("$PWD")

# build RUN: what Bazel says goes to the file log, shown when it fails.
build() { run "$1" >log 2>&1 || { cat log >&2; return 1; }; }

# built TEXT COUNTS: what the last build says of its processes.
built() { holds "$1" grep -qE "^INFO: [0-9]+ process(es)?: $2\.$" log || { cat log >&2; return 1; }; }

build build
built 'the first build packs both images' '[0-9]+ internal, 2 (linux|processwrapper)-sandbox'
build build
built 'an unchanged build runs nothing' '1 internal'
touch rootfs.tar
build build
built 'neither does a touched file' '1 internal'
echo other >hostname
build build
built 'a changed file packs the image that has it' '[0-9]+ internal, 1 (linux|processwrapper)-sandbox'
holds 'which is then in it' grep -qx other <(kstage cat bazel-bin/board.img etc/hostname)

# A second workspace, elsewhere, of another user's umask, with the cache of the first.
export CACHE=$scratch/cache
bazel clean >/dev/null 2>&1
build cached
built 'with a cache that is empty both are packed' '[0-9]+ internal, 2 (linux|processwrapper)-sandbox'
sha256sum bazel-bin/*.img >"$scratch/sums"
mkdir "$scratch/elsewhere"
tar -c --exclude='bazel-*' . | tar -x -C "$scratch/elsewhere"
cd "$scratch/elsewhere" && touch -- *
servers+=("$PWD")
chmod -R go-rwx .
chmod +x hostname
build cached
built 'in another workspace all comes from the cache' '2 (disk|remote) cache hit, [0-9]+ internal'
holds 'the same bytes' sha256sum -c "$scratch/sums"
tar --delete -f rootfs.tar "./lib/modules/$version"/modules.builtin{,.modinfo}
fails 'with --strict a warning makes the build fail' run build
cp "$scratch/said" log
holds 'and is shown' grep -q 'modules.builtin: is not known' log
