package closure_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
)

// Lines that make no sense are reported with their number; the others count.
func TestJunkConfig(t *testing.T) {
	var c closure.Config
	problems := c.Parse("/etc/modprobe.d/x.conf", []byte(strings.Join([]string{
		"alias", "alias a", "alias [a b", "blacklist", "options x", "softdep x", "install x", "frobnicate x y", "\x00\xff",
		"config binary", "  # no comment", "alias a-b c-d", "",
	}, "\n")))
	if len(problems) != 10 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
	for i, p := range problems {
		if p.Rule != closure.RuleConfig || p.Severity != depmod.Warning || p.Path != "/etc/modprobe.d/x.conf" || i == 3 && !strings.HasPrefix(p.Text, "line 4 is ignored") {
			t.Errorf("%+v", p)
		}
	}
	if len(c.Aliases) != 1 || c.Aliases[0] != (closure.Alias{Pattern: "a_b", Module: "c_d"}) || len(c.Options)+len(c.Softdeps)+len(c.Install) > 0 {
		t.Errorf("%+v", c)
	}
}

// A file in etc hides one of the same name elsewhere.
func TestReadConfig(t *testing.T) {
	c, problems, err := closure.ReadConfig(fstest.MapFS{
		"etc/modprobe.d/a.conf":     {Data: []byte("blacklist one\n")},
		"usr/lib/modprobe.d/a.conf": {Data: []byte("blacklist two\n")},
		"usr/lib/modprobe.d/b.conf": {Data: []byte("blacklist three-four\njunk\n")},
		"usr/lib/modprobe.d/README": {Data: []byte("blacklist five\n")},
	}, closure.ConfigPaths)
	if err != nil || len(problems) != 1 || len(c.Blacklist) != 2 || !c.Blacklist["one"] || !c.Blacklist["three_four"] {
		t.Errorf("%+v, %v, %v", c, problems, err)
	}
}

func TestParseList(t *testing.T) {
	choices, err := closure.ParseList("x.list", []byte("# all of it\next4 # the root\n\n\t?virtio_blk\r\nof:N*#1\n!kernel/drivers/gpu/"))
	if err != nil || len(choices) != 4 || choices[0] != (closure.Choice{Text: "ext4", From: "x.list:2"}) ||
		choices[1] != (closure.Choice{Text: "virtio_blk", From: "x.list:4", Optional: true}) || choices[2].Text != "of:N*#1" || choices[3].Text != "!kernel/drivers/gpu/" {
		t.Errorf("%+v, %v", choices, err)
	}
	for text, want := range map[string]string{
		"a\nb c\n":                       `x.list:2: "b c" has a blank`,
		"a\n?\n":                         "x.list:2: \"\" names nothing",
		"!\n":                            "names nothing",
		"a[\n":                           "is no pattern",
		strings.Repeat("x", 5000) + "\n": "has 5001 bytes",
		"\x00\n":                         "has a blank",
		"kernel/[\n":                     "is no pattern",
	} {
		if choices, err := closure.ParseList("x.list", []byte(text)); err == nil || choices != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, %v", text, choices, err)
		}
	}
}
