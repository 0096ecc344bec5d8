package modinfo

import (
	"slices"
	"strings"
)

// A Param is a parameter of a module, which the fields parm=NAME:TEXT and
// parmtype=NAME:TYPE tell of, both or one of them.
type Param struct {
	Name string
	Text string // the description
	Type string // int, bool, charp, "array of int" …
	// Described and Typed tell whether there is a field for Text and for Type,
	// empty as it may be.
	Described, Typed bool
}

// Params gathers the parameters that fields tell of. They come in the order of
// kmod's modinfo, which is that of their first mention, reversed. Of two fields
// for the same the later counts. A field that has no colon comes back as
// invalid.
func Params(fields []Field) (params []Param, invalid []Field) {
	at := make(map[string]int)
	for _, f := range fields {
		if f.Key != "parm" && f.Key != "parmtype" {
			continue
		}
		name, value, ok := strings.Cut(f.Value, ":")
		if !ok {
			invalid = append(invalid, f)
			continue
		}
		i, known := at[name]
		if !known {
			i = len(params)
			at[name] = i
			params = append(params, Param{Name: name})
		}
		p := &params[i]
		if f.Key == "parm" {
			p.Text, p.Described = value, true
		} else {
			p.Type, p.Typed = value, true
		}
	}
	slices.Reverse(params)
	return params, invalid
}
