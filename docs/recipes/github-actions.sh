#!/bin/bash
# github-actions.md as a runner would: each step in a shell of its own, on Linux.
. "$(dirname "$0")/blocks.sh"

root rootfs
rm rootfs/init
printf '#!/bin/busybox sh\nbusybox modprobe ext4 && echo board is up\nbusybox poweroff -f\n' >rootfs/init
chmod +x rootfs/init
cp "$KSTAGE_LAB/vmlinux" Image
files
workflow=.github/workflows/image.yml

# The release, and what differs from a runner: where it is, and that apt-get has
# nothing to do, since the packages are there.
export KSTAGE_VERSION PLATFORM=linux-amd64 RUNNER_TEMP=$scratch/runner GITHUB_PATH=$scratch/path
KSTAGE_VERSION=$(sed -n 's/^  KSTAGE_VERSION: //p' "$workflow")
export KSTAGE_RELEASES=file://$scratch/releases
release=$scratch/releases/v$KSTAGE_VERSION
mkdir -p "$release" "$scratch/shims"
program=kstage-$KSTAGE_VERSION-$PLATFORM
cp "$(command -v kstage)" "$release/$program"
(cd "$release" && sha256sum "$program" >SHA256SUMS && echo "0000  $program.deb" >>SHA256SUMS)
cat >"$scratch/shims/sudo" <<'SUDO'
#!/bin/bash
[ "$*" = "apt-get update -qq" ] && exit
for last in "$@"; do [[ $last == -* || $last == apt-get || $last == install ]] || dpkg -s "$last" >/dev/null || exit; done
SUDO
chmod +x "$scratch/shims/sudo"
PATH=$scratch/shims:$PATH

# step NAME: its run: lines.
step() {
  awk -v want="      - name: $1" '
    $0 == want { here = 1; next }
    here && /^      - / { exit }
    here && sub(/^        run: /, "") { if ($0 != "|") print; else text = 1; lines++; next }
    text && sub(/^          /, "") { print }
    END { exit !lines }
  ' "$workflow"
}

# runs NAME: as the runner does, with the PATH of the steps before.
runs() {
  step "$1" >"$scratch/step" || { echo "no step $1" >&2; return 1; }
  PATH=$(tac "$GITHUB_PATH" 2>/dev/null | tr '\n' ':')$PATH bash --noprofile --norc -e -o pipefail "$scratch/step"
}

again() { rm -rf "$RUNNER_TEMP" "$GITHUB_PATH"; }

holds 'the workflow has the steps that are run here' test "$(grep -c '^        run: ' "$workflow")" = 6
echo >>"$release/$program"
fails 'a program that is not that of the release is not installed' runs 'Install kstage'
truncate -s -1 "$release/$program"
again
for name in 'Install kstage' 'Will the modules load?' Pack Report 'Install qemu' Boot; do
  holds "$name" runs "$name"
done
holds 'the program is that of the release' test "$(cat "$GITHUB_PATH")" = "$RUNNER_TEMP/bin"
holds 'the report is a page' grep -qi '<!doctype html' report.html

module=$(echo rootfs/lib/modules/*/kernel/fs/mbcache.ko.xz)
mv "$module" "$scratch/"
fails 'a module that lacks another stops the job' runs 'Will the modules load?'
cp "$scratch/said" log
holds 'and dmesg is foretold' grep -q 'dmesg: ext4: Unknown symbol' log
mv "$scratch/mbcache.ko.xz" "$module"
sed -i 's/board is up/board is down/' rootfs/init
runs Pack >/dev/null 2>&1
fails 'a board that does not come up stops the job' runs Boot
