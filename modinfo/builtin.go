package modinfo

import (
	"fmt"
	"strings"
)

// BuiltinFields gives the fields of one module that is built into the kernel,
// from the content of a modules.builtin.modinfo; none when it is not there.
//
//	MODULE.KEY=VALUE NUL …
//
// As with kmod the name must stand there just so, with its underscores, and the
// first run of its strings is all that counts, because the kernel's build
// writes a module's strings together. A string before the end of that run that
// names no module, or no field, is an error: the file was made by something else.
func BuiltinFields(data, module string) ([]Field, error) {
	var fields []Field
	for rest := data; rest != ""; {
		s, after, _ := strings.Cut(rest, "\x00")
		off := len(data) - len(rest)
		rest = after
		name, field, ok := strings.Cut(s, ".")
		switch {
		case !ok:
			return nil, fmt.Errorf("modules.builtin.modinfo: %.40q at byte %d names no module", s, off)
		case name != module && fields != nil:
			return fields, nil
		case name != module:
			continue
		case field == "":
			return nil, fmt.Errorf("modules.builtin.modinfo: %.40q at byte %d names no field", s, off)
		}
		key, value, _ := strings.Cut(field, "=")
		fields = append(fields, Field{key, value})
	}
	return fields, nil
}
