//go:build linux

package main

import (
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
)

// TestBootStripped loads some hundred modules from all over the kernel and unloads
// them again, as they are and stripped: the kernel must do and say the same.
func TestBootStripped(t *testing.T) {
	root := openDir(t)
	modules := addSample(t, root)
	var commands []string
	for _, m := range modules {
		commands = append(commands, "insmod /lib/modules/"+kotest.LabVersion(t)+"/"+m.Path)
	}
	commands = append(commands, "cat /proc/modules")
	for _, m := range slices.Backward(modules) {
		commands = append(commands, "rmmod "+m.Name)
	}
	boottest.AddInit(t, root, commands...)
	var whole, stripped []boottest.Result
	t.Run("boots", func(t *testing.T) { // ends when both have
		t.Run("whole", func(t *testing.T) {
			t.Parallel()
			whole = stripBoot(t, root)
		})
		t.Run("stripped", func(t *testing.T) {
			t.Parallel()
			stripped = stripBoot(t, root, "--strip")
		})
	})
	if len(whole) != len(commands) || len(stripped) != len(commands) {
		t.Fatalf("%d and %d commands ran, not %d", len(whole), len(stripped), len(commands))
	}
	loaded, unloaded := 0, 0
	for i := range modules {
		loaded += 1 - min(whole[i].Exit, 1)
		unloaded += 1 - min(whole[len(modules)+1+i].Exit, 1)
	}
	before, after := moduleSize(t, whole[len(modules)], "virtio_net"), moduleSize(t, stripped[len(modules)], "virtio_net")
	t.Logf("of %d modules %d were loaded and %d unloaded; virtio_net takes %d bytes, stripped %d", len(modules), loaded, unloaded, before, after)
	if loaded < 200 || unloaded < 200 || before < 900_000 || after > 140_000 {
		t.Error("these are the wrong numbers")
	}
	whole[len(modules)].Output, stripped[len(modules)].Output = "", "" // sizes and addresses
	if diff := cmp.Diff(exits(whole), exits(stripped)); diff != "" {
		t.Errorf("as they are -, stripped +\n%s", diff)
	}
	if diff := cmp.Diff(messages(whole), messages(stripped)); diff != "" {
		t.Errorf("as they are -, stripped +\n%s", diff)
	}
}

// addSample puts modules of the lab into a tree, in the order of loading: the first one
// of every sixth directory, virtio_net, and all that these need.
func addSample(t testing.TB, root string) []*depmod.Module {
	t.Helper()
	from, dir := kotest.LabTree(t, "plain"), "lib/modules/"+kotest.LabVersion(t)
	tree, err := depmod.Scan(t.Context(), os.DirFS(from), dir, depmod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := make(map[string]*depmod.Module)
	for _, m := range tree.Modules {
		if at := path.Dir(m.Path); first[at] == nil || m.Path < first[at].Path {
			first[at] = m
		}
	}
	var modules []*depmod.Module
	take := func(m *depmod.Module) {
		for _, m := range slices.Backward(append([]*depmod.Module{m}, m.Deps...)) {
			if !slices.Contains(modules, m) {
				modules = append(modules, m)
			}
		}
	}
	for i, at := range slices.Sorted(maps.Keys(first)) {
		if i%6 == 0 {
			take(first[at])
		}
	}
	for _, m := range tree.Modules {
		if m.Name == "virtio_net" {
			take(m)
		}
	}
	for _, m := range modules {
		name := filepath.FromSlash(path.Join(dir, m.Path))
		data, err := os.ReadFile(filepath.Join(from, name))
		to := filepath.Join(root, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return modules
}

func stripBoot(t *testing.T, root string, flags ...string) []boottest.Result {
	t.Helper()
	image := filepath.Join(openDir(t), "image.cpio")
	out, err := unprivileged(t, append([]string{"pack", root, "-c", "none", "-o", image}, flags...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	machine := boottest.Machine{Initrd: image, Memory: "2G", Net: true, Timeout: 8 * time.Minute}
	return boottest.Results(t, boottest.Run(t, machine))
}

// exits gives how each command ended.
func exits(results []boottest.Result) map[string]int {
	all := make(map[string]int)
	for _, r := range results {
		all[r.Command] = r.Exit
	}
	return all
}

// What differs from boot to boot: addresses and numbers of processes; how long
// interrupts took on a busy host, and which way to compute parities was the fastest; and
// what the kernel says once when it meets a module without a signature.
var (
	varying = regexp.MustCompile(`[0-9a-f]{12,16}|pid [0-9]+`)
	foreign = regexp.MustCompile(`hrtimer: interrupt took|^raid6: |^xor: |^ +[0-9]+regs|module verification failed: signature and/or required key missing - tainting kernel`)
)

// messages are the lines that the kernel printed. Sorted, since some come from threads.
func messages(results []boottest.Result) []string {
	var lines []string
	for _, r := range results {
		for line := range strings.Lines(r.Output) {
			if !foreign.MatchString(line) {
				lines = append(lines, varying.ReplaceAllString(line, "N"))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// moduleSize finds a module's size in /proc/modules.
func moduleSize(t testing.TB, list boottest.Result, name string) int {
	t.Helper()
	for line := range strings.Lines(list.Output) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s is not in\n%s", name, list.Output)
	return 0
}
