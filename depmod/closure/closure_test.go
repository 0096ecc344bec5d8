package closure_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

const dir = "lib/modules/6.12.0"

// catalog makes the catalog of a small tree: files below dir by path, in the form of
// kotest.
func catalog(t testing.TB, files map[string]string, conf string) *closure.Catalog {
	t.Helper()
	texts := make(map[string]string)
	for p, text := range files {
		texts[dir+"/"+p] = text
	}
	tree, err := depmod.Scan(context.Background(), kotest.FS(t, texts), dir, depmod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var config closure.Config
	for _, p := range config.Parse("x.conf", []byte(conf)) {
		t.Error(p)
	}
	c, err := closure.New(tree, config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// filesystems is a tree like a kernel's:
//
//	ext4 → jbd2 → crc; ext4 → crc; crc is one of two that are called crypto-crc
var filesystems = map[string]string{
	"kernel/fs/ext4/ext4.ko":         "modinfo alias=fs-ext4\nmodinfo alias=fs-ext3\nmodinfo softdep=pre: crypto-crc\nneed jbd2_start\nneed crc_get",
	"kernel/fs/jbd2/jbd2.ko":         "export jbd2_start\nneed crc_get",
	"kernel/fs/fat/vfat.ko":          "modinfo alias=fs-vfat\nmodinfo weakdep=nls-iso8859-1 nothing",
	"kernel/fs/nls/nls_iso8859-1.ko": "",
	"kernel/lib/crc.ko":              "export crc_get\nmodinfo alias=crypto-crc",
	"kernel/lib/crc-fast.ko":         "modinfo alias=crypto-crc\nneed simd_use",
	"kernel/lib/simd.ko":             "export simd_use",
	"kernel/drivers/net/nic.ko":      "modinfo alias=pci:v00001AF4d00001000sv*sd*bc*sc*i*\nmodinfo alias=of:N*T*Cacme,nic-2*\nmodinfo softdep=post: phy",
	"kernel/drivers/net/phy.ko":      "",
	"extra/nic_old.ko":               "modinfo alias=pci:v00001AF4d*",
	"modules.builtin":                "kernel/drivers/virtio/virtio.ko\nkernel/fs/squashfs/squashfs.ko\n",
	"modules.builtin.modinfo":        "squashfs.alias=fs-squashfs\x00virtio.license=GPL\x00",
	"modules.order":                  "kernel/drivers/net/nic.ko\n",
}

func texts(lines ...string) (choices []closure.Choice) {
	for _, text := range lines {
		choices = append(choices, closure.Choice{Text: text})
	}
	return choices
}

// words shows a set: each module in order, with its mark unless that is the usual
// one, then those in the kernel.
func words(s *closure.Set) string {
	var all []string
	for _, m := range s.Members {
		text := m.Name
		if m.Mark > closure.Hard {
			text += "(" + m.Mark.String() + ")"
		}
		all = append(all, text)
	}
	for _, m := range s.BuiltIn {
		all = append(all, "+"+m.Name)
	}
	return strings.Join(all, " ")
}

func TestChoices(t *testing.T) {
	c := catalog(t, filesystems, "alias disk ext4\nalias disk* vfat\n")
	for _, test := range []struct{ choices, want string }{
		{"jbd2", "crc jbd2"},
		// kmod loads what ext4 needs first, around that what their softdeps say
		{"ext4", "crc jbd2 simd(pre) crc_fast(pre) ext4"},
		{"fs-ext3", "crc jbd2 simd(pre) crc_fast(pre) ext4"},
		{"vfat", "vfat nls_iso8859_1(weak)"},
		{"nls-iso8859_1.ko.xz", "nls_iso8859_1"},
		{"nic", "nic phy(post)"},
		{"phy nic", "phy nic"},
		{"nic*", "nic phy(post) nic_old"},
		{"fs-v*", "vfat nls_iso8859_1(weak)"}, // no name is like it, but an alias
		{"kernel/drivers/", "nic phy +virtio"},
		{"drivers/net", "nic phy"},
		{"kernel/lib/crc-*", "simd crc_fast"},
		{"**/n??.ko", "nic phy(post)"},
		{"extra/nic_old", "nic_old"},
		{"kernel/fs/squashfs/", "+squashfs"},
		{"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", "nic phy(post) nic_old"},
		{"pci:v00001AF4d00001001sv00001AF4sd00000001bc02sc00i00", "nic_old"},
		{"of:NethernetT(null)Cacme,nic-2Cacme,nic", "nic phy(post)"},
		{"of:*acme*", "nic phy(post)"},
		{"symbol:simd_use", "simd"},
		{"squashfs fs-squashfs", "+squashfs"},
		{"disk", "crc jbd2 simd(pre) crc_fast(pre) ext4 vfat nls_iso8859_1(weak)"},
		{"ext4 !crc-fast !simd", "crc jbd2 ext4"},
		{"ext4 !simd", "crc jbd2 ext4"}, // crc_fast cannot be loaded then, and is only a wish
		{"!kernel/fs/ !kernel/drivers/ !extra/", "crc simd crc_fast"},
		{"!crc !kernel/drivers/", "nic_old vfat nls_iso8859_1 simd crc_fast"}, // jbd2 and ext4 need it
		{"!*", ""},
	} {
		set, err := c.Resolve(texts(strings.Fields(test.choices)...))
		if err != nil {
			t.Errorf("%s: %v", test.choices, err)
			continue
		}
		got := words(set)
		if strings.HasPrefix(test.choices, "!") { // in the order of the tree, which is another matter
			got, test.want = sorted(got), sorted(test.want)
		}
		if got != test.want {
			t.Errorf("%s:\nhave %s\nwant %s", test.choices, got, test.want)
		}
	}
}

func sorted(text string) string {
	all := strings.Fields(text)
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestAllWithoutChoice(t *testing.T) {
	set, err := catalog(t, filesystems, "").Resolve(nil)
	if err != nil || len(set.Members) != 10 {
		t.Errorf("%v, %v", words(set), err)
	}
	for _, m := range set.Members {
		if m.Mark != closure.Chosen || !set.Has(m.Module) {
			t.Errorf("%s is marked %v", m.Name, m.Mark)
		}
	}
}

func TestUnknown(t *testing.T) {
	c := catalog(t, filesystems, "")
	for text, near := range map[string]string{
		"etx4":             "ext4",
		"vafat":            "vfat",
		"virtoi":           "virtio",
		"iso8859":          "nls_iso8859_1",
		"kernel/fs/ext3/":  "kernel/fs/ext4/",
		"symbol:simd_used": "symbol:simd_use",
		"pci:v1":           "",
		"zzz*":             "",
	} {
		_, err := c.Resolve(texts("ext4", text))
		var e *closure.NotFoundError
		if !errors.As(err, &e) || e.Choice.Text != text || e.BuiltInUnknown {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if near != "" && (len(e.Near) == 0 || e.Near[0] != near) || near == "" && e.Near != nil {
			t.Errorf("%s: near are %q, want %s", text, e.Near, near)
		}
	}
	_, err := c.Resolve(texts("nope", "ext4", "[", "neither"))
	for _, want := range []string{"nope: no module", "neither: no module", "no pattern"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// What is optional, and what a device asks for, may be missing.
func TestOptional(t *testing.T) {
	c := catalog(t, filesystems, "")
	set, err := c.Resolve(append(closure.Devices("board", []string{"of:NxTyCacme,nic-2", "of:NxTyCother", "ext4/*:["}),
		closure.Choice{Text: "nope", Optional: true}))
	if err != nil || words(set) != "nic phy(post)" {
		t.Fatalf("%v, %v", set, err)
	}
	if len(set.Picks) != 4 || len(set.Picks[0].Modules) != 1 || len(set.Picks[1].Modules) != 0 {
		t.Errorf("picks: %+v", set.Picks)
	}
	if len(set.Problems) != 1 || set.Problems[0].Rule != closure.RuleOptional {
		t.Errorf("problems: %v", set.Problems)
	}
}

func TestExcludedIsNeeded(t *testing.T) {
	c := catalog(t, filesystems, "")
	_, err := c.Resolve(texts("fs-ext4", "!crc"))
	var e *closure.ExcludedError
	if !errors.As(err, &e) || err.Error() != "fs-ext4: ext4 needs crc, which !crc leaves out" {
		t.Errorf("%v", err)
	}
	set, err := c.Resolve(append(texts("!crc", "nic", "!nothing", "!squashfs"), closure.Choice{Text: "ext4", Optional: true}))
	if err != nil || words(set) != "nic phy(post)" {
		t.Fatalf("%v, %v", set, err)
	}
	var rules []string
	for _, p := range set.Problems {
		rules = append(rules, p.Rule)
	}
	if got := strings.Join(rules, " "); got != "unused-choice unused-choice excluded" {
		t.Errorf("problems: %v", set.Problems)
	}
}

func TestModprobeConfig(t *testing.T) {
	c := catalog(t, filesystems, `
# comment
blacklist nic-old
options ext4 a=1
options ext4 b="x y"
softdep ext4 pre: vfat
weakdep jbd2 phy
install crc /bin/true; \
  echo
remove crc /bin/false
include /x
`)
	set, err := c.Resolve(texts("ext4", "pci:v00001AF4d00001001sv0"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := words(set), "crc jbd2 simd(pre) crc_fast(pre) vfat(pre) ext4 phy(weak) nls_iso8859_1(weak)"; got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	ext4 := set.Members[5]
	if strings.Join(ext4.Options, " ") != `a=1 b="x y"` {
		t.Errorf("options: %q", ext4.Options)
	}
	var problems []string
	for _, p := range set.Problems {
		problems = append(problems, p.Text)
	}
	for _, want := range []string{"nic_old is not taken", "modprobe does not load it but runs: /bin/true;", "to remove it modprobe runs: /bin/false"} {
		if !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("problems lack %q: %q", want, problems)
		}
	}
	if set, err := c.Resolve(texts("nic_old")); err != nil || words(set) != "nic_old" { // by its name it is taken
		t.Errorf("%v, %v", set, err)
	}
}

func TestWhy(t *testing.T) {
	set, err := catalog(t, filesystems, "").Resolve(texts("ext4", "jbd2"))
	if err != nil {
		t.Fatal(err)
	}
	why := make(map[string]string)
	for _, m := range set.Members {
		var reasons []string
		for _, r := range m.Why {
			reasons = append(reasons, r.String())
		}
		why[m.Name] = strings.Join(reasons, "; ")
	}
	for name, want := range map[string]string{
		"ext4": "chosen by ext4",
		"jbd2": "chosen by jbd2; ext4 needs jbd2_start",
		"crc":  "jbd2 needs crc_get; ext4 needs crc_get; ext4 has softdep pre: crypto-crc",
		"simd": "crc_fast needs simd_use",
	} {
		if why[name] != want {
			t.Errorf("%s: %s\nwant %s", name, why[name], want)
		}
	}
}

// The strongest tie counts, whichever way the weaker one goes.
func TestMarks(t *testing.T) {
	c := catalog(t, map[string]string{
		"a.ko": "modinfo weakdep=b\nmodinfo softdep=post: c",
		"b.ko": "need from_d",
		"c.ko": "need from_d\nmodinfo softdep=pre: e post: f",
		"d.ko": "export from_d\nmodinfo softdep=e", // neither pre nor post
		"e.ko": "", "f.ko": "modinfo weakdep=a b",
	}, "")
	set, err := c.Resolve(texts("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := words(set), "a d(post) e(post) c(post) f(post) b(weak)"; got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

// Circles of softdeps end, and every module still comes behind what it needs.
func TestCircles(t *testing.T) {
	c := catalog(t, map[string]string{
		"a.ko": "modinfo softdep=pre: b post: a",
		"b.ko": "modinfo softdep=pre: c post: a\nmodinfo weakdep=b",
		"c.ko": "need from_a\nmodinfo softdep=pre: a b c post: c\nmodinfo weakdep=a",
		"d.ko": "export from_a\nmodinfo softdep=pre: c",
	}, "softdep d post: d a\nweakdep d d\nalias a c\n")
	for _, name := range []string{"a", "b", "c", "d"} {
		set, err := c.Resolve(texts(name))
		if err != nil {
			t.Fatal(err)
		}
		checkOrder(t, set)
	}
}

// checkOrder demands that each member comes once, and behind all that it needs.
func checkOrder(t *testing.T, set *closure.Set) {
	t.Helper()
	loaded := make(map[*depmod.Module]bool)
	for _, m := range set.Members {
		if loaded[m.Module] {
			t.Errorf("%s comes twice", m.Name)
		}
		for _, d := range m.Module.Deps {
			if !loaded[d] && d != m.Module {
				t.Errorf("%s comes before %s, which it needs", m.Name, d.Name)
			}
		}
		loaded[m.Module] = true
		if len(m.Why) == 0 {
			t.Errorf("%s has no reason to be there", m.Name)
		}
	}
}
