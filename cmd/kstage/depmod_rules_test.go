//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A rule is one of kmod's, by the section of the project's notes on its
// behaviour, with a tree and a call that show it. What must hold is checked
// against our program everywhere, and the whole outcome against kmod where the
// lab is.
type rule struct {
	name   string
	files  map[string]string // below lib/modules/6.1.0, but for names that begin with a slash
	args   string            // after -b ROOT -m lib/modules -C /dev/null; "" is "6.1.0"
	file   string            // which is to hold want; "stdout", "stderr", or a file of the module directory
	want   string
	absent bool // want must not be there
	status int
}

const twoModules = "need b\nmodinfo alias=pci:v1-d2[a-b]"

var depmodRules = []rule{
	{name: "1 no version that looks like one", args: "foo", file: "stderr", want: "depmod: ERROR: Bad version passed foo", status: 1},
	{name: "1 a version may have any tail", args: "6-1", file: "stderr", want: "Bad version passed 6-1", status: 1},
	{name: "1 a missing directory", args: "6.9.9", file: "stderr", want: "FATAL: could not search modules: No such file or directory", status: 1},
	{name: "1 -a ignores FILE", files: map[string]string{"kernel/a.ko": "", "kernel/b.ko": ""}, args: "-a 6.1.0 ROOT/lib/modules/6.1.0/kernel/a.ko", file: "modules.dep", want: "kernel/b.ko:\n"},
	{name: "1 -P drops a prefix character", files: map[string]string{"a.ko": "need _b", "b.ko": "export b"}, args: "-P _ 6.1.0", file: "modules.dep", want: "a.ko: b.ko\n"},
	{name: "1 -P wants one character", args: "-P ab 6.1.0", file: "stderr", want: "FATAL: -P only takes a single char", status: 1},
	{name: "1 an unknown option", args: "-Z", file: "stderr", want: "depmod: invalid option -- 'Z'", status: 1},
	{name: "1 options of releases before 34 are gone", args: "-u 6.1.0", file: "stderr", want: "depmod: invalid option -- 'u'", status: 1},
	{name: "1.1 -e needs -E or -F", files: map[string]string{"a.ko": ""}, args: "-e 6.1.0", file: "stderr", want: "WARNING: -e needs -E or -F"},
	{name: "1.1 unknown symbols, strong ones only", files: map[string]string{"a.ko": "need gone\nweak missing", "/map": "0 r __ksymtab_printk\n"}, args: "-e -F ROOT/map 6.1.0", file: "stderr", want: "a.ko needs unknown symbol gone"},
	{name: "1.1 a weak symbol is not reported", files: map[string]string{"a.ko": "weak missing", "/map": "0 r __ksymtab_printk\n"}, args: "-e -F ROOT/map 6.1.0", file: "stderr", want: "missing", absent: true},
	{name: "1.1 versions that disagree", files: map[string]string{"a.ko": "need printk crc=1", "/sv": "0x2\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n"}, args: "-e -E ROOT/sv 6.1.0", file: "stderr", want: "a.ko disagrees about version of symbol printk"},
	{name: "1.1 -w repeated aliases", files: map[string]string{"a.ko": "modinfo alias=x-y\nmodinfo alias=x_y"}, args: "-w 6.1.0", file: "stderr", want: "duplicate module alias:\nx_y a"},
	{name: "1.1 a symbol file that is missing", args: "-F ROOT/none 6.1.0", file: "stderr", want: "FATAL: could not load ROOT/none: No such file or directory", status: 1},
	{name: "1.2 a broken module is no failure", files: map[string]string{"a.ko": "@text"}, file: "stderr", want: "failed to load symbols from ROOT/lib/modules/6.1.0/a.ko: Invalid argument"},
	{name: "1.3 -n prints the text files", files: map[string]string{"a.ko": twoModules}, args: "-n 6.1.0", file: "stdout", want: "a.ko:\n# Aliases extracted from modules themselves.\nalias pci:v1-d2[a-b] a\n# Soft"},
	{name: "1.3 -n writes nothing", files: map[string]string{"a.ko": ""}, args: "-n 6.1.0", file: "modules.dep", want: ":", absent: true},
	{name: "1.3 -A -n prints nothing", files: map[string]string{"a.ko": ""}, args: "-A -n 6.1.0", file: "stdout", want: "a", absent: true},
	{name: "1.4 -A without modules.dep is a full run", files: map[string]string{"a.ko": ""}, args: "-A 6.1.0", file: "modules.dep", want: "a.ko:\n"},
	{name: "1.5 FILE covers only that module", files: map[string]string{"kernel/a.ko": "need b", "kernel/b.ko": "export b"}, args: "6.1.0 ROOT/lib/modules/6.1.0/kernel/a.ko", file: "modules.dep", want: "kernel/a.ko:\n"},
	{name: "1.5 FILE outside keeps its path", files: map[string]string{"a.ko": "", "/o.ko": ""}, args: "6.1.0 ROOT/o.ko", file: "modules.dep", want: "ROOT/o.ko:\n"},
	{name: "1.5 FILE must be absolute", args: "6.1.0 rel.ko", file: "stderr", want: "FATAL: rel.ko: not absolute path.", status: 1},
	{name: "2.2 search accumulates", files: map[string]string{"kernel/m.ko": "", "b/m.ko": "", "/1.conf": "search a\nsearch b\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "b/m.ko:\n"},
	{name: "2.2 joined lines and comments", files: map[string]string{"kernel/m.ko": "", "b/m.ko": "", "/1.conf": "# search kernel\nsearch \\\nb\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "b/m.ko:\n"},
	{name: "2.2 a bad line", files: map[string]string{"m.ko": "", "/1.conf": "\n serach b\n"}, args: "-C ROOT/1.conf 6.1.0", file: "stderr", want: "ROOT/1.conf:2: ignoring bad line starting with 'serach'"},
	{name: "2.2 exclude", files: map[string]string{"kernel/m.ko": "", "debug/n.ko": "", "/1.conf": "exclude debug\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "n.ko", absent: true},
	{name: "2.2 external", files: map[string]string{"kernel/m.ko": "", "/ext/n.ko": "", "/1.conf": "external * ROOT/ext\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "ROOT/ext/n.ko:\n"},
	{name: "2.2 a version pattern is not anchored", files: map[string]string{"kernel/m.ko": "", "x/m.ko": "", "/1.conf": "override m .1 kernel\nsearch x\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "kernel/m.ko:\n"},
	{name: "2.2 an invalid pattern matches nothing", files: map[string]string{"kernel/m.ko": "", "x/m.ko": "", "/1.conf": "override m ( kernel\nsearch x\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "x/m.ko:\n"},
	{name: "2.1 the first file of a name rules", files: map[string]string{"a/m.ko": "", "b/m.ko": "", "/c1/x.conf": "search a\n", "/c2/x.conf": "search b\n"}, args: "-C ROOT/c1 -C ROOT/c2 6.1.0", file: "modules.dep", want: "a/m.ko:\n"},
	{name: "2.1 only .conf counts in a directory", files: map[string]string{"a/m.ko": "", "updates/m.ko": "", "/c/x.txt": "search a\n"}, args: "-C ROOT/c 6.1.0", file: "modules.dep", want: "updates/m.ko:\n"},
	{name: "2.4 updates comes first", files: map[string]string{"kernel/m.ko": "", "updates/m.ko": ""}, file: "modules.dep", want: "updates/m.ko:\n"},
	{name: "2.4 the newest override rules", files: map[string]string{"a/m.ko": "", "b/m.ko": "", "/1.conf": "override m * a\noverride m * b\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "b/m.ko:\n"},
	{name: "2.4 a name is no prefix", files: map[string]string{"foo/m.ko": "", "foobar/m.ko": "", "/1.conf": "search foo built-in\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "foo/m.ko:\n"},
	{name: "2.4 built-in last", files: map[string]string{"kernel/m.ko": "", "a/m.ko": "", "/1.conf": "search built-in a\n"}, args: "-C ROOT/1.conf 6.1.0", file: "modules.dep", want: "kernel/m.ko:\n"},
	{name: "3.1 hidden directories count", files: map[string]string{".h/m.ko": ""}, file: "modules.dep", want: ".h/m.ko:\n"},
	{name: "3.1 build and source do not", files: map[string]string{"a/build/m.ko": "", "a/n.ko": ""}, file: "modules.dep", want: "m.ko", absent: true},
	{name: "3.2 a name ends at the first dot", files: map[string]string{"two.dots-x.ko": "modinfo alias=q"}, file: "modules.alias", want: "alias q two\n"},
	{name: "3.3 packing is told by content", files: map[string]string{"a.ko.xz": "export s", "b.ko.zst": "need s"}, file: "modules.dep", want: "b.ko.zst: a.ko.xz\n"},
	{name: "3.5 modules.order, then hash order", files: map[string]string{"z.ko": "", "a.ko": "", "ext4.ko": "", "modules.order": "z.ko\n"}, file: "modules.dep", want: "z.ko:\next4.ko:\na.ko:\n"},
	{name: "3.5 the first of repeated lines counts", files: map[string]string{"a.ko": "", "b.ko": "", "modules.order": "a.ko\nb.ko\na.ko\n"}, file: "modules.dep", want: "a.ko:\nb.ko:\n"},
	{name: "3.5 a line without newline ends all sorting", files: map[string]string{"a.ko": "", "ext4.ko": "", "modules.order": "a.ko\next4.ko"}, file: "stderr", want: "modules.order:2 corrupted line misses '\\n'"},
	{name: "4 headers are always written", file: "modules.weakdep", want: "# Weak dependencies extracted from modules themselves.\n"},
	{name: "4 aliases are not sorted and repeat", files: map[string]string{"a.ko": "modinfo alias=z\nmodinfo alias=b\nmodinfo alias=z"}, file: "modules.alias", want: "alias z a\nalias b a\nalias z a\n"},
	{name: "4 softdep and weakdep", files: map[string]string{"a-b.ko": "modinfo softdep=pre: c post: d\nmodinfo weakdep=e"}, file: "modules.softdep", want: "softdep a_b pre: c post: d\n"},
	{name: "4.1 the text keeps dashes, the index does not", files: map[string]string{"a.ko": "modinfo alias=x-y[-]z"}, file: "modules.alias.bin", want: "x_y[-]z"[1:]},
	{name: "4.1 an unbalanced bracket", files: map[string]string{"a.ko": "modinfo alias=x[y"}, file: "stderr", want: "WARNING: Unmatched bracket in x[y"},
	{name: "4.2 modules.builtin: a line that is no path", files: map[string]string{"modules.builtin": "1x\nkernel/a-b.ko\n"}, file: "stderr", want: "ERROR: Invalid modules.builtin line: 1x\n"},
	{name: "4.2 a missing modules.builtin", files: map[string]string{"modules.builtin.modinfo": ""}, file: "stderr", want: "could not open modules.builtin at ROOT/lib/modules/6.1.0"},
	{name: "4.3 a string without NUL does not count", files: map[string]string{"modules.builtin.modinfo": "a.alias=one\x00b.alias=two"}, file: "modules.builtin.alias.bin", want: "wo", absent: true},
	{name: "4.3 nor does one without a module", files: map[string]string{"modules.builtin.modinfo": ".alias=one\x00a.alias=two\x00"}, file: "modules.builtin.alias.bin", want: "ne", absent: true},
	{name: "4.4 devname", files: map[string]string{"a.ko": "modinfo alias=devname:net/tun\nmodinfo alias=char-major-10-200"}, file: "modules.devname", want: "# Device nodes to trigger on-demand module loading.\na net/tun c10:200\n"},
	{name: "4.4 a name without numbers", files: map[string]string{"a.ko": "modinfo alias=devname:x\nmodinfo alias=char-major-21-*"}, file: "stderr", want: "Module 'a' has devname (x) but lacks major and minor information. Ignoring."},
	{name: "6.1 any class and byte order", files: map[string]string{"a.ko": "elf 32 be mips\nexport s", "b.ko": "elf 64 be ppc64\nneed s"}, file: "modules.dep", want: "b.ko: a.ko\n"},
	{name: "6.2 __crc_ hides the other exports", files: map[string]string{"a.ko": "export s crc=1\nexport t", "b.ko": "need t"}, file: "modules.dep", want: "b.ko:\n"},
	{name: "6.2 the later module has the symbol", files: map[string]string{"a.ko": "export s", "b.ko": "export s", "c.ko": "need s", "modules.order": "b.ko\na.ko\n"}, file: "modules.dep", want: "c.ko: a.ko\n"},
	{name: "6.3 a weak symbol makes a dependency", files: map[string]string{"a.ko": "weak s", "b.ko": "export s"}, file: "modules.dep", want: "a.ko: b.ko\n"},
	{name: "6.3 so does a version record alone", files: map[string]string{"a.ko": "version s crc=1", "b.ko": "export s", "c.ko": "need x"}, file: "modules.dep", want: "a.ko: b.ko\n"},
	{name: "6.3 a leading dot is dropped", files: map[string]string{"a.ko": "need .s", "b.ko": "export s"}, file: "modules.dep", want: "a.ko: b.ko\n"},
	{name: "6.3 SPARC registers need nobody", files: map[string]string{"a.ko": "elf 64 be sparcv9\nneed s type=13", "b.ko": "export s"}, file: "modules.dep", want: "a.ko:\n"},
	{name: "6.4 all dependencies, users before the used", files: map[string]string{"a.ko": "need b\nneed c", "b.ko": "export b\nneed c", "c.ko": "export c"}, file: "modules.dep", want: "a.ko: b.ko c.ko\n"},
	{name: "6.5 a circle", files: map[string]string{"a.ko": "export a\nneed b", "b.ko": "export b\nneed a", "modules.order": "a.ko\nb.ko\n"}, file: "stderr", want: "ERROR: Cycle detected: a -> b -> a\ndepmod: ERROR: Found 2 modules in dependency cycles!", status: 1},
	{name: "6.5 a circle leaves no file", files: map[string]string{"a.ko": "export a\nneed a"}, file: "modules.dep", want: "a", absent: true, status: 1},
	{name: "6.5 a bystander is named alone", files: map[string]string{"a.ko": "export a\nneed b\nneed f", "b.ko": "export b\nneed a", "f.ko": "export f\nneed g", "g.ko": "export g", "modules.order": "a.ko\nb.ko\nf.ko\n"}, file: "stderr", want: "ERROR: Cycle detected: f\n", status: 1},
	{name: "6.6 -v says who needs whom", files: map[string]string{"a.ko": "need s", "b.ko": "export s"}, args: "-v 6.1.0", file: "stdout", want: "ROOT/lib/modules/6.1.0/a.ko needs \"s\": ROOT/lib/modules/6.1.0/b.ko\n"},
}

// tree is what a rule describes, as the generator writes it.
func (r *rule) tree() *generated {
	g := &generated{files: map[string]string{}, raw: map[string]string{}, args: []string{"-b", "ROOT", "-m", "lib/modules"}}
	g.raw["lib/modules/6.1.0/keep"] = ""
	for name, text := range r.files {
		full, rooted := strings.CutPrefix(name, "/")
		if !rooted {
			full = "lib/modules/6.1.0/" + name
		}
		if content, none := strings.CutPrefix(text, "@"); none || !strings.Contains(filepath.Base(name), ".ko") {
			g.raw[full] = content
		} else {
			g.files[full] = text
		}
	}
	if !strings.Contains(r.args, "-C") {
		g.args = append(g.args, "-C", "/dev/null")
	}
	if r.args == "" {
		g.args = append(g.args, "6.1.0")
	}
	g.args = append(g.args, strings.Fields(r.args)...)
	return g
}

func TestDepmodRules(t *testing.T) {
	for _, r := range depmodRules {
		t.Run(r.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			tree := r.tree()
			for i := range tree.args {
				tree.args[i] = strings.ReplaceAll(tree.args[i], "ROOT", root)
			}
			tree.write(t, root)
			var kmod *outcome
			if os.Getenv("KSTAGE_LAB") != "" {
				want, _ := kmodDepmod(t, root, tree.args)
				kmod = &want
				if err := os.RemoveAll(root); err != nil {
					t.Fatal(err)
				}
				tree.write(t, root)
			}
			got, inOrder := ourDepmod(t, root, tree.args)
			text := strings.ReplaceAll(got.Files["/lib/modules/6.1.0/"+r.file], root, "ROOT")
			switch r.file {
			case "stdout":
				text = got.Stdout
			case "stderr":
				text = inOrder
			}
			if got.Status != r.status || strings.Contains(text, r.want) == r.absent {
				t.Errorf("status %d, %s:\n%s\nwant status %d, %q (absent: %v)", got.Status, r.file, text, r.status, r.want, r.absent)
			}
			if kmod != nil {
				if diff := cmp.Diff(*kmod, got); diff != "" {
					t.Error("kmod -, kstage +:\n" + diff)
				}
			}
		})
	}
}
