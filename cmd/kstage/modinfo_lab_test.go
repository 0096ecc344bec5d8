//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/kotest"
)

// labModules are the module files of the lab in that form.
func labModules(t testing.TB, form string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(kotest.LabTree(t, form), func(path string, _ fs.DirEntry, err error) error {
		if isModuleName(path) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 3000 {
		t.Fatalf("%d modules, %v", len(paths), err)
	}
	return paths
}

// TestModinfoOfAllModules: on every module of the lab, plain and packed, the
// drop-in says what kmod says.
func TestModinfoOfAllModules(t *testing.T) {
	for _, form := range []string{"plain", "xz", "zst"} {
		t.Run(form, func(t *testing.T) {
			program := filepath.Join(kotest.Lab(t), "modinfo-34")
			var group errgroup.Group
			group.SetLimit(2)
			for batch := range slices.Chunk(labModules(t, form), 200) {
				group.Go(func() error { return sameOutput(program, batch) })
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// sameOutput runs both programs and compares what they print.
func sameOutput(program string, args []string) error {
	var want, wantErr, got, gotErr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &want, &wantErr
	_ = cmd.Run() // a failure shows in the exit code
	call := fmt.Sprintf("%.200s …", strings.Join(args, " "))
	if status := modinfoMain("modinfo", args, &got, &gotErr); status != cmd.ProcessState.ExitCode() {
		return fmt.Errorf("%s: status %d, kmod's is %d\n%s", call, status, cmd.ProcessState.ExitCode(), gotErr.String())
	}
	for _, c := range []struct{ want, got []byte }{{want.Bytes(), got.Bytes()}, {wantErr.Bytes(), gotErr.Bytes()}} {
		at := 0
		for at < min(len(c.want), len(c.got)) && c.want[at] == c.got[at] {
			at++
		}
		if at < max(len(c.want), len(c.got)) {
			around := func(b []byte) []byte { return b[max(0, min(at-200, len(b))):min(len(b), at+100)] }
			return fmt.Errorf("%s: kmod\n…%s…\nkstage\n…%s…", call, around(c.want), around(c.got))
		}
	}
	return nil
}

// TestModinfoLooksUpLikeKmod asks both programs for names, aliases and symbols of
// the lab's tree.
func TestModinfoLooksUpLikeKmod(t *testing.T) {
	program, version := filepath.Join(kotest.Lab(t), "modinfo-34"), kotest.LabVersion(t)
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules", version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// kmod wants to see the files of dependencies
	if err := os.Symlink(filepath.Join(kotest.LabTree(t, "zst"), "lib/modules", version, "kernel"), filepath.Join(dir, "kernel")); err != nil {
		t.Fatal(err)
	}
	tree, err := depmod.Scan(t.Context(), os.DirFS(kotest.LabTree(t, "zst")), "lib/modules/"+version, depmod.Options{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	files, _ := tree.Files()
	contents := make(map[string]string)
	for _, file := range files {
		var b bytes.Buffer
		if err := file.Write(&b); err != nil {
			t.Fatal(err)
		}
		contents[file.Name] = b.String()
		if err := os.WriteFile(filepath.Join(dir, file.Name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo"} {
		b, err := os.ReadFile(filepath.Join(kotest.LabTree(t, "zst"), "lib/modules", version, name))
		if err != nil {
			t.Fatal(err)
		}
		contents[name] = string(b)
	}
	for _, how := range []string{"-n", "-nm"} {
		for batch := range slices.Chunk(requests(contents), 2000) {
			if err := sameOutput(program, append([]string{"-b", root, "-k", version, how}, batch...)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// requests makes texts to look up, of every twentieth thing that the lists name.
func requests(lists map[string]string) (texts []string) {
	n := 0
	add := func(text string) {
		if n++; n%20 == 0 {
			texts = append(texts, strings.ReplaceAll(text, "*", ""), strings.NewReplacer("*", "0x-", "?", "7").Replace(text))
		}
	}
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		for line := range strings.Lines(lists[list]) {
			name, _, _ := strings.Cut(line, ":")
			add(strings.TrimSuffix(filepath.Base(strings.TrimSpace(name)), ".ko.zst"))
		}
	}
	for _, list := range []string{"modules.alias", "modules.symbols"} {
		for line := range strings.Lines(lists[list]) {
			if words := strings.Fields(line); words[0] == "alias" {
				add(words[1])
			}
		}
	}
	for s := range strings.SplitSeq(lists["modules.builtin.modinfo"], "\x00") {
		if _, alias, ok := strings.Cut(s, ".alias="); ok {
			add(alias)
		}
	}
	return texts
}

// TestModinfoOfRandomModules: both say the same of modules whose strings are
// put together by chance.
func TestModinfoOfRandomModules(t *testing.T) {
	program, seed := filepath.Join(kotest.Lab(t), "modinfo-34"), uint64(os.Getpid())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Chdir(t.TempDir())
	words := []string{"parm", "parmtype", "license", "alias", "name", "averyverylongkeyname", "=", "=", ":", ":", "a", "b", "int", "\n", " ", "\x00", "\x00", "\x00", "é"}
	var files []string
	for i := range 200 {
		var info strings.Builder
		for range random.IntN(60) {
			info.WriteString(words[random.IntN(len(words))])
		}
		module := kotest.Module{Sections: []kotest.Section{{Name: ".modinfo", Data: []byte(info.String())}}, BigEndian: i%2 == 0, Bits: 32 << (i % 3 % 2)}
		if i%5 == 0 {
			data := make([]byte, random.IntN(60))
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			module.Signature = &kotest.Signature{Algo: byte(random.IntN(3)), Hash: byte(random.IntN(10)), IDType: byte(random.IntN(4)), KeyID: data[:len(data)/3], Data: data}
		}
		b, err := module.Build()
		if err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			b = b[:random.IntN(len(b))]
		}
		files = append(files, fmt.Sprintf("m%d.ko", i))
		if err := os.WriteFile(files[i], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, options := range [][]string{nil, {"-0"}, {"-p"}, {"-0", "-p"}, {"-F", "name"}, {"-F", ""}, {"-F", "parmtype"}, {"-n"}, {"-0", "-l"}} {
		if err := sameOutput(program, append(options, files...)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
