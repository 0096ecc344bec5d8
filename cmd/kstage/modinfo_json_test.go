package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// schema is the part of JSON Schema that docs/modinfo.schema.json makes use of.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 string            `json:"type"`
	Required             []string          `json:"required"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
	Items                *schema           `json:"items"`
	Enum                 []any             `json:"enum"`
	Minimum              *float64          `json:"minimum"`
	Pattern              string            `json:"pattern"`
	Defs                 map[string]schema `json:"$defs"`

	Schema      string `json:"$schema"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	b, err := os.ReadFile("../../docs/modinfo.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields() // a keyword that is not checked here
	if err := dec.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// check gives what is wrong with v, by place.
func (s schema) check(root schema, place string, v any) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, place+": "+fmt.Sprintf(format, args...)) }
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s = root.Defs[name]
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		say("%v is none of %v", v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type != "object" {
			say("an object, not %s", s.Type)
		}
		wrong = append(wrong, s.checkObject(root, place, v)...)
	case []any:
		if s.Type != "array" {
			say("an array, not %s", s.Type)
			return
		}
		for i, item := range v {
			wrong = append(wrong, s.Items.check(root, fmt.Sprintf("%s[%d]", place, i), item)...)
		}
	case string:
		if s.Type != "string" || !regexp.MustCompile(s.Pattern).MatchString(v) {
			say("%q is no %s %s", v, s.Type, s.Pattern)
		}
	case float64:
		if s.Type != "integer" || v != float64(int64(v)) || s.Minimum != nil && v < *s.Minimum {
			say("%v is no %s", v, s.Type)
		}
	case bool:
		if s.Type != "boolean" {
			say("%v is no %s", v, s.Type)
		}
	default:
		say("%v", v)
	}
	return wrong
}

func (s schema) checkObject(root schema, place string, v map[string]any) (wrong []string) {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			wrong = append(wrong, place+": no "+name)
		}
	}
	var others schema
	open := json.Unmarshal(s.AdditionalProperties, &others) == nil
	for name, member := range v {
		place := place + "." + name
		switch property, ok := s.Properties[name]; {
		case ok:
			wrong = append(wrong, property.check(root, place, member)...)
		case open:
			wrong = append(wrong, others.check(root, place, member)...)
		default:
			wrong = append(wrong, place+": not in the schema")
		}
	}
	return wrong
}

// runJSON runs kstage modinfo --json and gives the objects, generic and typed.
func runJSON(t *testing.T, args ...string) ([]any, []moduleJSON) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(append([]string{"modinfo", "--json"}, args...), &stdout, &stderr); status != 0 {
		t.Fatal(status, stderr.String())
	}
	var typed []moduleJSON
	var objects []any
	for line := range strings.Lines(stdout.String()) {
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		var m moduleJSON
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		typed = append(typed, m)
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, v)
	}
	return objects, typed
}

// jsonModule has something for every member.
const jsonModule = `
elf 32 be mips
modinfo license=GPL
modinfo "author=<Müller & Söhne>"
modinfo alias=pci:v1*
modinfo alias=pci:v2*
modinfo depends=usbcore,mii
modinfo parm=speed:Baud rate
modinfo parmtype=speed:int
modinfo "parmtype=bare:"
export offered crc=0x12345678
export free
need printk crc=0x92997ed8
weak maybe
version module_layout crc=0x1
section .bss type=8 size=4096
buildid 00ff10
signature algo=1 hash=4 id=1 signer=Somebody keyid=0a0b c0ffee
`

func TestModinfoJSON(t *testing.T) {
	root := kotest.Dir(t, map[string]string{"a-b.ko.xz": jsonModule})
	objects, typed := runJSON(t, filepath.Join(root, "a-b.ko.xz"))
	if wrong := readSchema(t).check(readSchema(t), "", objects[0]); wrong != nil {
		t.Error(strings.Join(wrong, "\n"))
	}
	text := func(s string) *string { return &s }
	want := moduleJSON{
		Name: "a_b", Filename: filepath.Join(root, "a-b.ko.xz"), Compression: "xz", Machine: "mips", Bits: 32, ByteOrder: "big",
		Fields: map[string][]string{"license": {"GPL"}, "author": {"<Müller & Söhne>"}, "alias": {"pci:v1*", "pci:v2*"},
			"depends": {"usbcore,mii"}, "parm": {"speed:Baud rate"}, "parmtype": {"speed:int", "bare:"}},
		Params:       []paramJSON{{Name: "bare", Type: text("")}, {Name: "speed", Description: text("Baud rate"), Type: text("int")}},
		Dependencies: []string{"usbcore", "mii"},
		Exports:      []exportJSON{{"offered", "0x12345678"}},
		Imports: []importJSON{{"printk", "strong", "0x92997ed8"}, {"maybe", "weak", ""},
			{"module_layout", "listed", "0x00000001"}},
		BuildID:   "00ff10",
		Signature: &signatureJSON{Type: "X509", Signer: "Somebody", KeyID: "0a0b", Hash: "sha256", Bytes: "c0ffee"},
	}
	got := typed[0]
	if !slices.Contains(got.Sections, sectionJSON{".bss", 4096}) || got.Size < 1000 {
		t.Errorf("size %d, sections %v", got.Size, got.Sections)
	}
	want.Sections, want.Size = got.Sections, got.Size
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("want -, got +:\n" + diff)
	}
}

// Lists that are empty are there none the less, for those who loop over them.
func TestModinfoJSONOfAnEmptyModule(t *testing.T) {
	root := kotest.Dir(t, map[string]string{"a.ko": "section .modinfo"})
	objects, _ := runJSON(t, filepath.Join(root, "a.ko"))
	m := objects[0].(map[string]any)
	if wrong := readSchema(t).check(readSchema(t), "", m); wrong != nil {
		t.Error(strings.Join(wrong, "\n"))
	}
	want := []string{"bits", "builtin", "byte_order", "compression", "dependencies", "exports", "fields", "filename", "imports", "machine",
		"name", "params", "sections", "size"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(m))); diff != "" {
		t.Error("want -, got +:\n" + diff)
	}
}

// Serial number 0 is a number, too.
func TestSerialText(t *testing.T) {
	for want, serial := range map[string][]byte{"": nil, "00": {}, "0c": {12}} {
		if got := serialText(serial); got != want {
			t.Errorf("%v: %q, want %q", serial, got, want)
		}
	}
}

// TestSchemaBites: the check finds what is wrong.
func TestSchemaBites(t *testing.T) {
	good := `{"name":"a","builtin":false,"fields":{"alias":["x"]},"params":[{"name":"p"}],"dependencies":[],"bits":64,"build_id":"00ff"}`
	s := readSchema(t)
	for change, want := range map[string]string{
		"":                                    "",
		`"name":"a",|`:                        ": no name",
		`"bits":64|"bits":63`:                 ".bits: 63 is none of",
		`"builtin":false|"builtin":0`:         ".builtin: 0 is no boolean",
		`["x"]|"x"`:                           `.fields.alias: "x" is no array`,
		`"00ff"|"00f"`:                        `.build_id: "00f" is no string`,
		`{"name":"p"}|{"name":"p","extra":1}`: ".params[0].extra: not in the schema",
	} {
		from, to, _ := strings.Cut(change, "|")
		var v any
		if err := json.Unmarshal([]byte(strings.Replace(good, from, to, 1)), &v); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(s.check(s, "", v), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", change, got, want)
		}
	}
}

// TestModinfoJSONOfTheLab: every module's object keeps to the schema, and says
// what the library says.
func TestModinfoJSONOfTheLab(t *testing.T) {
	dir := kotest.LabTree(t, "zst")
	objects, typed := runJSON(t, dir)
	s := readSchema(t)
	for i, v := range objects {
		if wrong := s.check(s, typed[i].Name, v); wrong != nil {
			t.Fatal(strings.Join(wrong, "\n"))
		}
		if i%100 != 0 {
			continue
		}
		m, err := modinfo.ReadFile(typed[i].Filename)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Imports) != len(typed[i].Imports) || len(m.Exports) != len(typed[i].Exports) || len(m.Sections) != len(typed[i].Sections) || m.Size != typed[i].Size {
			t.Errorf("%s: %d imports, %d exports, %d sections", typed[i].Name, len(typed[i].Imports), len(typed[i].Exports), len(typed[i].Sections))
		}
	}
	sorted := slices.IsSortedFunc(typed, func(a, b moduleJSON) int { return strings.Compare(a.Filename, b.Filename) })
	if len(typed) < 3000 || !sorted {
		t.Errorf("%d modules, sorted: %v", len(typed), sorted)
	}
}
