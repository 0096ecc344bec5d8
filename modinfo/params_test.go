package modinfo_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

func TestParams(t *testing.T) {
	fields := []modinfo.Field{
		{"parm", "one:First"}, {"license", "GPL"}, {"parmtype", "one:int"}, {"parm", "two:With: a colon"},
		{"parmtype", "three:bool"}, {"parm", "nocolon"}, {"parmtype", ""}, {"parm", "one:First again"},
		{"parmtype", "empty:"}, {"parm", ":nameless"},
	}
	params, invalid := modinfo.Params(fields)
	want := []modinfo.Param{
		{Name: "", Text: "nameless", Described: true},
		{Name: "empty", Typed: true},
		{Name: "three", Type: "bool", Typed: true},
		{Name: "two", Text: "With: a colon", Described: true},
		{Name: "one", Text: "First again", Type: "int", Described: true, Typed: true},
	}
	if diff := cmp.Diff(want, params); diff != "" {
		t.Error("want -, got +:\n" + diff)
	}
	if diff := cmp.Diff([]modinfo.Field{{"parm", "nocolon"}, {"parmtype", ""}}, invalid); diff != "" {
		t.Error("invalid, want -, got +:\n" + diff)
	}
}

// The values are those that kmod 34.2 shows.
func TestBuiltinFields(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []modinfo.Field
		err        string
	}{
		{"the first run", "a.x=1\x00b.x=2\x00b.y=3\x00c.x=4\x00b.z=5\x00", []modinfo.Field{{"x", "2"}, {"y", "3"}}, ""},
		{"no NUL at the end", "b.x=1\x00b.y=2", []modinfo.Field{{"x", "1"}, {"y", "2"}}, ""},
		{"not there", "a.x=1\x00bb.x=2\x00b_.x=3\x00", nil, ""},
		{"an empty list", "", nil, ""},
		{"a dot in the key", "b.z.a=1\x00b..x=2\x00", []modinfo.Field{{"z.a", "1"}, {".x", "2"}}, ""},
		{"no value, no key", "b.x\x00b.=3\x00", []modinfo.Field{{"x", ""}, {"", "3"}}, ""},
		{"another name without one", ".x=1\x00b.x=2\x00", []modinfo.Field{{"x", "2"}}, ""},
		{"no dot before the run", "junk\x00b.x=1\x00", nil, `"junk" at byte 0 names no module`},
		{"no dot in the run", "b.x=1\x00junk\x00b.y=2\x00", nil, `"junk" at byte 6 names no module`},
		{"no dot behind the run", "b.x=1\x00c.x=2\x00junk\x00", []modinfo.Field{{"x", "1"}}, ""},
		{"an empty string", "b.x=1\x00\x00", nil, `"" at byte 6 names no module`},
		{"nothing behind the dot", "b.\x00", nil, `"b." at byte 0 names no field`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := modinfo.BuiltinFields(c.data, "b")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("want -, got +:\n" + diff)
			}
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || err.Error() != "modules.builtin.modinfo: "+c.err):
				t.Errorf("%v, want %s", err, c.err)
			}
		})
	}
}

// FuzzBuiltinFields: an error means no fields, and the fields written down again
// are read as the same.
func FuzzBuiltinFields(f *testing.F) {
	f.Add("a.x=1\x00b.x=2\x00b.y=3\x00c.x=4\x00", "b")
	f.Add("b.x\x00b.=3\x00b.z.a=1\x00junk\x00", "b")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, data, module string) {
		fields, err := modinfo.BuiltinFields(data, module)
		if err != nil && fields != nil {
			t.Fatalf("fields %q in spite of %v", fields, err)
		}
		var again string
		for _, f := range fields {
			again += module + "." + f.Key + "=" + f.Value + "\x00"
		}
		got, err := modinfo.BuiltinFields(again, module)
		if diff := cmp.Diff(fields, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

func ExampleParams() {
	fields := []modinfo.Field{{"parmtype", "debug:int"}, {"parm", "debug:Level of messages"}, {"parmtype", "irq:array of int"}}
	params, _ := modinfo.Params(fields)
	for _, p := range params {
		fmt.Printf("%s (%s) %q\n", p.Name, p.Type, p.Text)
	}
	// Output:
	// irq (array of int) ""
	// debug (int) "Level of messages"
}

func ExampleBuiltinFields() {
	list := "ext4.license=GPL\x00ext4.alias=fs-ext4\x00fat.license=GPL\x00"
	fields, err := modinfo.BuiltinFields(list, "ext4")
	fmt.Println(fields, err)
	// Output: [{license GPL} {alias fs-ext4}] <nil>
}

// kmod takes a module without .modinfo for broken, but not one where it is empty.
func TestNoModinfo(t *testing.T) {
	for text, want := range map[string][]modinfo.Field{
		"need a":                        nil,
		"section .modinfo":              {},
		"section .modinfo 000000":       {},
		`section .modinfo text="a=1"`:   {{"a", "1"}},
		`section .modinfo text="\x00a"`: {}, // kmod's way with a single byte
		"section .modinfo 6100":         {{"a", ""}},
		"section .modinfo 006100620000": {{"a", ""}, {"b", ""}},
	} {
		m, err := read(kotest.Must(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, m.Fields); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", text, diff)
		}
	}
}
