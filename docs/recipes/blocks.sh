# What the scripts of the recipes share; they read it at their beginning:
#   . "$(dirname "$0")/blocks.sh"
# It stops the script at the first failure and goes to a directory of its own, which is
# removed at the end. The recipe's page is in $page, this folder in $recipes.
#
# Lines to copy stand in the page alone, in fenced blocks behind a comment:
#   <!-- file: NAME -->   what is to stand in the file NAME
#   <!-- run: NAME -->    commands, called NAME here
#
#   files               writes all such files, below the directory it is called in
#   run NAME            runs such commands as one would, line by line
#   holds TEXT CMD...   runs a command that must succeed, and says that TEXT holds
#   fails TEXT CMD...   the same for one that must not succeed
#   root DIR            makes a small tree with real modules: ext4 and what it needs
set -euo pipefail

recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
page=$recipes/$(basename "$0" .sh).md
: "${KSTAGE_LAB:?names the folder that lab/fetch has made}"
command -v kstage >/dev/null || { echo "kstage is not in PATH" >&2; exit 1; }
export KSTAGE_CACHE=off SOURCE_DATE_EPOCH=0 LC_ALL=C
unset MAKEFLAGS MFLAGS
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/work"
cd "$scratch/work"

# block KIND NAME: the block behind <!-- KIND: NAME -->.
block() {
  awk -v want="<!-- $1: $2 -->" '
    inside && /^ *```/ { exit }
    inside { print; lines++ }
    seen && /^ *```/ { inside = 1 }
    $0 == want { seen = 1 }
    END { exit !lines }
  ' "$page" || { echo "$page has no block $1: $2" >&2; return 1; }
}

files() {
  local name
  while read -r name; do
    mkdir -p "$(dirname "$name")"
    block file "$name" >"$name"
    case $(head -n 1 "$name") in '#!'*) chmod +x "$name" ;; esac
  done < <(sed -n 's/^<!-- file: \(.*\) -->$/\1/p' "$page")
}

run() {
  block run "$1" >"$scratch/block"
  bash -euo pipefail "$scratch/block"
}

holds() {
  local text=$1
  shift
  "$@" >"$scratch/said" 2>&1 || { echo "FAILED: $text: $*" >&2; cat "$scratch/said" >&2; return 1; }
  echo "ok: $text"
}

fails() {
  local text=$1
  shift
  ! "$@" >"$scratch/said" 2>&1 || { echo "FAILED: $text: it succeeded: $*" >&2; cat "$scratch/said" >&2; return 1; }
  echo "ok: $text"
}

root() {
  local version
  version=$(basename "$KSTAGE_LAB"/tree-xz/lib/modules/*)
  mkdir -p "$1/bin" "$1/etc" "$1/lib/modules/$version/kernel"/{fs,lib}
  cp "$KSTAGE_LAB/busybox" "$1/bin/busybox"
  ln -s bin/busybox "$1/init"
  echo board >"$1/etc/hostname"
  cp -r "$KSTAGE_LAB/tree-xz/lib/modules/$version/kernel/fs"/{ext4,jbd2,mbcache.ko.xz} "$1/lib/modules/$version/kernel/fs"
  cp "$KSTAGE_LAB/tree-xz/lib/modules/$version/kernel/lib"/crc*.ko.xz "$1/lib/modules/$version/kernel/lib"
}
