package closure_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

// between is a module that is part of the lab's kernel and of which no other makes
// anything: modprobe's line about it stands between those about two modules.
const between = "zbud"

// Every module of the lab, one by one: what it takes is what modprobe would load, in
// the same order, all of it and nothing else but what is marked as weak.
func TestModprobe(t *testing.T) {
	tree, err := depmod.Scan(context.Background(), os.DirFS(kotest.LabTree(t, "plain")), "lib/modules/"+kotest.LabVersion(t), depmod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := closure.New(tree, closure.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := modprobe(t, tree)
	if len(tree.Modules) < 3000 || len(want) != len(tree.Modules) {
		t.Fatalf("modprobe told of %d modules, there are %d", len(want), len(tree.Modules))
	}
	marked := make(map[closure.Kind]int)
	for i, m := range tree.Modules {
		set, err := catalog.Resolve([]closure.Choice{{Text: m.Name}})
		if err != nil {
			t.Fatal(err)
		}
		checkOrder(t, set)
		var got []string
		last := ""
		for _, member := range set.Members {
			if marked[member.Mark]++; member.Mark < closure.Weak {
				got = append(got, member.Module.Path)
			}
			if member.Mark < closure.Post {
				last = member.Name
			}
		}
		if last != m.Name {
			t.Errorf("%s: %s is loaded last", m.Name, last)
		}
		for _, b := range set.BuiltIn {
			if b.Mark < closure.Weak {
				got = append(got, "builtin "+b.Name)
			}
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("%s:\nhave %q\nwant %q", m.Name, got, want[i])
		}
	}
	for kind := closure.Chosen; kind <= closure.Weak; kind++ {
		t.Logf("%v: %d", kind, marked[kind])
	}
	if marked[closure.Pre] == 0 || marked[closure.Weak] == 0 {
		t.Error("there are no softdeps among the modules, or they are not seen")
	}
}

// modprobe asks kmod 34's modprobe for what each module takes, all at once: paths
// below the module directory in the order of loading, then "builtin NAME" by name,
// each once.
func modprobe(t *testing.T, tree *depmod.Tree) [][]string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules", tree.Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeIndex(t, tree, dir)
	if err := os.Symlink(filepath.Join(kotest.LabTree(t, "plain"), tree.Dir, "kernel"), filepath.Join(dir, "kernel")); err != nil {
		t.Fatal(err) // modprobe looks whether the files are there
	}
	args := []string{"-d", root, "-C", "/dev/null", "-S", tree.Version, "-a", "-D"}
	for _, m := range tree.Modules {
		args = append(args, m.Name, between)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(kotest.Lab(t), "modprobe-34"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var all [][]string
	var one, builtin []string
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSpace(line); {
		case line == "builtin "+between:
			slices.Sort(builtin)
			all, one, builtin = append(all, append(one, slices.Compact(builtin)...)), nil, nil
		case strings.HasPrefix(line, "builtin "):
			builtin = append(builtin, line)
		default:
			file := strings.TrimPrefix(line, "insmod "+dir+"/")
			if !slices.Contains(one, file) { // modprobe looks in the kernel whether it is there
				one = append(one, file)
			}
		}
	}
	return all
}

// writeIndex writes what modprobe reads. It takes one softdep line of a module only
// (kmod issue 33), so of several one is made: what is wanted is all of them.
func writeIndex(t *testing.T, tree *depmod.Tree, dir string) {
	t.Helper()
	files, _ := tree.Files()
	for _, f := range files {
		var data bytes.Buffer
		if err := f.Write(&data); err != nil {
			t.Fatal(err)
		}
		if f.Name == "modules.softdep" {
			joined := make(map[string]string)
			for line := range strings.Lines(data.String()) {
				if words := strings.SplitN(strings.TrimSpace(line), " ", 3); words[0] == "softdep" {
					joined[words[1]] += " " + words[2]
				}
			}
			data.Reset()
			for module, text := range joined {
				data.WriteString("softdep " + module + text + "\n")
			}
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), data.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
