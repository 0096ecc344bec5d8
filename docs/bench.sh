#!/bin/bash
# Compares kstage with the tools that it stands in for, and prints the tables of
# benchmarks.md; with a file's name it draws the picture there too.
#   usage: KSTAGE_LAB=… bash docs/bench.sh [PAIRS [PICTURE.svg]]
# PAIRS of runs are made for each row, in turn: kstage, the other, kstage, … What both
# write is compared first. As root it runs at the highest priority.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-5} picture=${2:-}

first=()
[ "$(id -u)" = 0 ] && first=(nice -n -15)
bench() { # PACKAGE PATTERN
  "${first[@]}" go test "$1" -run '^$' -bench "$2" -benchtime "${pairs}x" -timeout 60m |
    grep '^Benchmark\|FAIL\|SKIP' || true
}

# Each line of go test is a name, then numbers with their units.
table='
  { name = $1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
    for (i = 3; i < NF; i += 2) v[$(i + 1)] = $i
    printf "| %s | %.2f s | %.3f | %.3f | %.2f |\n", name, v["s"], v["wall-ratio"], v["cpu-ratio"], v["memory-ratio"] }'

head() { printf '\n| %s | kstage | wall ratio | CPU ratio | memory ratio |\n| --- | --- | --- | --- | --- |\n' "$1"; }

head 'against kmod'
bench ./cmd/kstage 'AgainstKmod|OneChanged|NothingChanged' | awk "$table"
head 'against a full pack'
bench ./cmd/kstage PackAgain | awk "$table"
head 'modules, against kmod'
modules=$(bench ./cmd/kstage BenchmarkModules)
awk "$table" <<<"$modules"
printf '\npack against find, cpio and a compressor\n\n'
bench ./initrd AgainstReferences

[ -n "$picture" ] || exit 0
# One line for each program: seconds over the number of modules.
awk '
  { n = $1; sub(/.*\//, "", n); sub(/-[0-9]+$/, "", n)
    for (i = 3; i < NF; i += 2) v[$(i + 1)] = $i
    number[++rows] = n; ours[rows] = v["s"]; theirs[rows] = v["s"] / v["wall-ratio"]
    if (theirs[rows] > most) most = theirs[rows] }
  function x(i) { return 60 + 500 * number[i] / number[rows] }
  function y(s) { return 260 - 220 * s / most }
  function curve(s, colour, name,   i, p) {
    for (i = 1; i <= rows; i++) p = p sprintf(" %.0f,%.0f", x(i), y(s[i]))
    printf "<polyline points=\"60,260%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", p, colour
    for (i = 1; i <= rows; i++) printf "<circle cx=\"%.0f\" cy=\"%.0f\" r=\"3\" fill=\"%s\"/>\n", x(i), y(s[i]), colour
    printf "<text x=\"%.0f\" y=\"%.0f\" fill=\"%s\">%s %.1f s</text>\n", x(rows) + 8, y(s[rows]) + 4, colour, name, s[rows]
  }
  END {
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 300\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">"
    print "<title>Seconds that depmod takes, by the number of .ko.xz modules</title>"
    print "<rect width=\"680\" height=\"300\" fill=\"#fff\"/>"
    print "<path d=\"M60 30V260H570\" fill=\"none\" stroke=\"#888\"/>"
    print "<text x=\"60\" y=\"20\" fill=\"#444\">seconds</text><text x=\"470\" y=\"292\" fill=\"#444\">modules (.ko.xz)</text>"
    for (i = 1; i <= rows; i++) printf "<text x=\"%.0f\" y=\"277\" fill=\"#444\" text-anchor=\"middle\">%s</text>\n", x(i), number[i]
    curve(theirs, "#b3541e", "kmod"); curve(ours, "#1e62b3", "kstage")
    print "</svg>"
  }' <<<"$modules" >"$picture"
