package depmod

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzConfig: whatever stands in depmod.d, the lines that make sense are taken
// and the ranking of two files stays an order.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"search updates built-in\nexternal * /x\nsearch external\n", "override a-b ^6\\\\. extra\n", "exclude a\\\nb c\n# no\n", "search\noverride x\n\\"} {
		f.Add([]byte(seed), "kernel/a.ko", "updates/a.ko")
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b string) {
		var c Config
		problems := c.Parse("x.conf", data, "6.1.0")
		if lines := bytes.Count(data, []byte("\n")) + 1; len(problems) > lines {
			t.Errorf("%d findings in %d lines", len(problems), lines)
		}
		for _, word := range c.Search {
			if word == "" || strings.ContainsAny(word, "\n") && !bytes.Contains(data, []byte("\\")) {
				t.Errorf("search word %q", word)
			}
		}
		// outside the search list no two files can push each other out
		if a != b && len(c.Overrides) == 0 && !c.keeps(a, b) && !c.keeps(b, a) && !slices.ContainsFunc(c.places(), func(place string) bool {
			return below(a, place) && below(b, place)
		}) {
			t.Errorf("%q and %q push each other out", a, b)
		}
	})
}

func FuzzSymvers(f *testing.F) {
	f.Add([]byte("0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0x1\tx\tdrivers/y\tEXPORT_SYMBOL\nzz\ta\tvmlinux\tb\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, problems := ParseSymvers("x", data)
		own := len(newKernelSymbols().crcs)
		if n := bytes.Count(data, []byte("vmlinux")); len(k.crcs)-own+len(problems) > n {
			t.Errorf("%d symbols and %d findings of %d lines", len(k.crcs)-own, len(problems), n)
		}
	})
}

func FuzzSystemMap(f *testing.F) {
	f.Add([]byte("ffffffff80000000 r __ksymtab_printk\nffffffff80000000 T _text\nbad\n"), byte(0))
	f.Add([]byte("ffffffff80000000 r ___ksymtab__printk\n"), byte('_'))
	f.Fuzz(func(t *testing.T, data []byte, prefix byte) {
		k, problems := ParseSystemMap("x", data, prefix)
		own := len(newKernelSymbols().crcs)
		if n := bytes.Count(data, []byte("\n")) + 1; len(k.crcs)-own+len(problems) > n {
			t.Errorf("%d symbols and %d findings of %d lines", len(k.crcs)-own, len(problems), n)
		}
	})
}

// FuzzLists: the kernel's three lists may hold anything; what is made of them can
// be read again.
func FuzzLists(f *testing.F) {
	f.Add([]byte("kernel/a.ko\n"), []byte("kernel/fs/ext4/ext4.ko\n"), []byte("ext4.alias=fs-ext4\x00ext4.file=fs/ext4/ext4\x00"))
	f.Add([]byte("\n\n"), []byte("x\n9\n"), []byte("a.alias=q[\x00noise\x00.alias=x"))
	f.Fuzz(func(t *testing.T, order, builtin, info []byte) {
		fsys := fstest.MapFS{}
		for name, data := range map[string][]byte{orderName: order, builtinName: builtin, builtinInfoName: info} {
			fsys["lib/modules/6.1.0/"+name] = &fstest.MapFile{Data: data}
		}
		tree, err := Scan(context.Background(), fsys, "lib/modules/6.1.0", Options{Complete: true})
		if err != nil {
			t.Fatal(err)
		}
		files, _ := tree.Files()
		for _, file := range files {
			var b bytes.Buffer
			if err := file.Write(&b); err != nil {
				t.Fatalf("%s: %v", file.Name, err)
			}
		}
		for line := range bytes.Lines(builtinFromInfo(info)) {
			if !bytes.HasPrefix(line, []byte("kernel/")) || !bytes.HasSuffix(line, []byte(".ko\n")) {
				t.Errorf("line %q", line)
			}
		}
	})
}
