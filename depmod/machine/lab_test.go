package machine

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

// deviceTrees are the lab's, by name: vendor/board.dtb.
func deviceTrees(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(kotest.Lab(t), "dtb"))
	if err != nil {
		t.Fatal(err)
	}
	trees := make(map[string][]byte)
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".dtb" {
			return err
		}
		trees[path], err = fs.ReadFile(root, path)
		return err
	})
	if err != nil || len(trees) < 30 {
		t.Fatalf("%d device trees in %s, %v", len(trees), dir, err)
	}
	return trees
}

// reference is what kmod makes of the lab's modules.
type reference struct {
	dir     string // basedir for modprobe
	version string
	aliases map[string]bool // "ALIAS MODULE", from modules.alias
}

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{dir: t.TempDir(), version: kotest.LabVersion(t), aliases: make(map[string]bool)}
	modules := filepath.Join("lib/modules", r.version)
	if err := os.MkdirAll(filepath.Join(r.dir, modules), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := os.Symlink(filepath.Join(kotest.LabTree(t, "plain"), modules, name), filepath.Join(r.dir, modules, name)); err != nil {
			t.Fatal(err)
		}
	}
	depmod := exec.Command(filepath.Join(kotest.Lab(t), "depmod-34"), "-b", r.dir, "-m", "lib/modules", "-C", "/dev/null", r.version)
	if out, err := depmod.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, modules, "modules.alias"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "alias "); ok {
			r.aliases[strings.TrimSpace(rest)] = true
		}
	}
	return r
}

// resolve asks kmod's modprobe which modules each alias stands for. It prints
// names without the alias, so that one that is known comes between them.
func (r *reference) resolve(t *testing.T, aliases []string) map[string][]string {
	t.Helper()
	const mark, marked = "fs-iso9660", "isofs"
	args := []string{"-d", r.dir, "-S", r.version, "-C", "/dev/null", "-q", "-a", "-R"}
	for _, a := range aliases {
		args = append(args, a, mark)
	}
	out, _ := exec.Command(filepath.Join(kotest.Lab(t), "modprobe-34"), args...).Output() // status 1: some have no module
	found := make(map[string][]string)
	i := 0
	for _, name := range strings.Fields(string(out)) {
		if name == marked {
			i++
		} else if i < len(aliases) {
			found[aliases[i]] = append(found[aliases[i]], name)
		}
	}
	if i != len(aliases) {
		t.Fatalf("modprobe -R answered for %d of %d aliases", i, len(aliases))
	}
	return found
}

// loadable tells whether a module is a file rather than a part of the kernel.
func (r *reference) loadable(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "lib/modules", r.version, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		path, _, _ := strings.Cut(line, ":")
		files[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")] = true
	}
	return files
}

func TestLab(t *testing.T) {
	r := newReference(t)
	t.Run("devices", r.devices)
	t.Run("profiles", r.profiles)
	t.Run("closure", sameModules)
}

// sameModules: what package closure chooses for a device tree is what its list has.
func sameModules(t *testing.T) {
	tree, err := depmod.Scan(t.Context(), os.DirFS(kotest.LabTree(t, "plain")), "lib/modules/"+kotest.LabVersion(t), depmod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := closure.New(tree, closure.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range deviceTrees(t) {
		choices, err := DeviceTree("", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		set, err := catalog.Resolve(choices)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got, want []string
		for _, m := range set.Members {
			if m.Mark == closure.Chosen {
				got = append(got, m.Name)
			}
		}
		for a := range readGolden(t, name) {
			want = append(want, a.module)
		}
		slices.Sort(got)
		slices.Sort(want)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			t.Errorf("%s: %v are chosen, the list has %v", name, got, want)
		}
	}
}

// devices compares what the lab's device trees ask for with testdata/lab: a line
// for each module, the node that asks, and the alias by which the module answers.
//
// The lists were made without kstage: from dtc's text of the trees, the formats in
// the kernel's source, and the patterns in the modules.alias of kmod's depmod. The
// test does not trust them either: kmod's modprobe finds the same modules for our
// aliases, every pattern stands in modules.alias beside its module, and it matches
// an alias of the node.
func (r *reference) devices(t *testing.T) {
	trees := deviceTrees(t)
	devices := make(map[string][]closure.Choice)
	var aliases []string
	for name, data := range trees {
		choices, err := DeviceTree("", bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		devices[name] = choices
		aliases = append(aliases, texts(choices)...)
	}
	slices.Sort(aliases)
	modules, loadable := r.resolve(t, slices.Compact(aliases)), r.loadable(t)
	for name, choices := range devices {
		want := readGolden(t, name)
		got := make(map[asked]bool)
		for _, c := range choices {
			for _, m := range modules[c.Text] {
				if loadable[m] {
					got[asked{m, strings.TrimPrefix(c.From, ":/")}] = true
				}
			}
		}
		for a, patterns := range want {
			if !got[a] {
				t.Errorf("%s: %s does not ask for %s", name, a.node, a.module)
			}
			for _, pattern := range patterns {
				r.explain(t, name, a, pattern, choices)
			}
		}
		for a := range got {
			if want[a] == nil {
				t.Errorf("%s: %s asks for %s, which the list does not have", name, a.node, a.module)
			}
		}
	}
}

// explain looks at one line of a list: the module has the pattern, the node an
// alias that it matches.
func (r *reference) explain(t *testing.T, name string, a asked, pattern string, choices []closure.Choice) {
	t.Helper()
	if !r.aliases[pattern+" "+a.module] {
		t.Errorf("%s: %s has no alias %s", name, a.module, pattern)
	}
	expr := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	re := regexp.MustCompile("^" + expr + "$")
	if !slices.ContainsFunc(choices, func(c closure.Choice) bool { return c.From == ":/"+a.node && re.MatchString(c.Text) }) {
		t.Errorf("%s: %s does not match %s", name, a.node, pattern)
	}
}

// asked is a module and the node that asks for it.
type asked struct{ module, node string }

// readGolden reads the list of one device tree: patterns, by module and node.
func readGolden(t *testing.T, name string) map[asked][]string {
	t.Helper()
	file := strings.ReplaceAll(strings.TrimSuffix(name, ".dtb"), "/", "-") + ".txt"
	text, err := os.ReadFile(filepath.Join("testdata/lab", file))
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[asked][]string)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("%s: %q", file, line)
		}
		a := asked{f[0], f[1]}
		list[a] = append(list[a], f[2])
	}
	return list
}

// Spot checks, from the boards' own descriptions. Without these modules the
// Star64 has neither USB (the SoC's wrapper of Cadence's controller) nor network
// (the wrapper of Synopsys' MAC), and the HiFive Unmatched neither network
// (Cadence's MAC) nor SD card (a slot on SPI).
func TestLabSpots(t *testing.T) {
	for name, want := range map[string][]asked{
		"starfive/jh7110-pine64-star64.dtb": {
			{"cdns3_starfive", "soc/usb@10100000"}, {"dwmac_starfive", "soc/ethernet@16030000"}, {"dw_mmc_starfive", "soc/mmc@16020000"}},
		"sifive/hifive-unmatched-a00.dtb": {
			{"macb", "soc/ethernet@10090000"}, {"spi_sifive", "soc/spi@10050000"}, {"mmc_spi", "soc/spi@10050000/mmc@0"}},
		// its PHY's number stands in the tree, so that its driver is known
		"sifive/hifive-unleashed-a00.dtb": {{"mscc", "soc/ethernet@10090000/ethernet-phy@0"}},
	} {
		list := readGolden(t, name)
		for _, a := range want {
			if list[a] == nil {
				t.Errorf("%s: %v is not in the list", name, a)
			}
		}
	}
	// The second I2C controller and the second SPI controller of the Unmatched are
	// disabled in its tree.
	for a := range readGolden(t, "sifive/hifive-unmatched-a00.dtb") {
		if strings.Contains(a.node, "i2c@10031000") || strings.Contains(a.node, "spi@10041000") {
			t.Errorf("%v is in the list", a)
		}
	}
}

// TestLabDTC compares the devices with those in dtc's text of each tree: the names
// and compatibles of every node, without those of disabled ones.
func TestLabDTC(t *testing.T) {
	dtc, err := exec.LookPath("dtc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("dtc is not installed (device-tree-compiler)")
	}
	for name, data := range deviceTrees(t) {
		cmd := exec.Command(dtc, "-q", "-I", "dtb", "-O", "dts")
		cmd.Stdin = bytes.NewReader(data)
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := fromText(string(text))
		choices, err := DeviceTree("", bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, c := range choices {
			if strings.HasPrefix(c.Text, "of:") {
				got = append(got, c.Text)
			}
		}
		if !slices.Equal(got, want) || len(got) < 10 {
			t.Errorf("%s: %d devices, dtc's text has %d:\n%q\n%q", name, len(got), len(want), got, want)
		}
	}
}

var (
	dtsNode     = regexp.MustCompile(`^(\S+) \{$`)
	dtsProperty = regexp.MustCompile(`^(compatible|status|device_type) = "(.*)";$`)
)

// dtsText is a node in dtc's text.
type dtsText struct {
	name       string
	properties map[string]string
	parent     *dtsText
}

func (n *dtsText) available() bool {
	status, has := n.properties["status"]
	return n.parent == nil || (!has || status == "okay" || status == "ok") && n.parent.available()
}

// fromText makes aliases from dtc's text, where a list of strings is one with \0 in it.
func fromText(text string) []string {
	var all []*dtsText
	var current *dtsText
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := dtsNode.FindStringSubmatch(line); m != nil {
			current = &dtsText{m[1], make(map[string]string), current}
			all = append(all, current)
		} else if m := dtsProperty.FindStringSubmatch(line); m != nil {
			current.properties[m[1]] = m[2]
		} else if line == "};" {
			current = current.parent
		}
	}
	var aliases []string
	for _, n := range all {
		compatible := n.properties["compatible"]
		if n.parent == nil || compatible == "" || !n.available() {
			continue
		}
		kind, has := n.properties["device_type"]
		if !has {
			kind = "(null)"
		}
		base, _, _ := strings.Cut(n.name, "@")
		aliases = append(aliases, fmt.Sprintf("of:N%sT%sC%s", base, kind, strings.ReplaceAll(compatible, `\0`, "C")))
	}
	return aliases
}

// profiles: each name in one is that of a module, of a part of the kernel, or an
// alias of one, as kmod knows them. A misspelt optional one would never be missed.
func (r *reference) profiles(t *testing.T) {
	var names []string
	for _, p := range Profiles() {
		names = append(names, texts(p.Choices)...)
	}
	found := r.resolve(t, names)
	for _, name := range names {
		if len(found[name]) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
}
