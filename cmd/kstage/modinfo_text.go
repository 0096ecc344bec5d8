package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kstage/kstage/modinfo"
)

// infoOptions are what modinfo was asked for, as the drop-in or as a command.
type infoOptions struct {
	filtered bool   // only the values of one field are wanted
	field    string // which one
	null     bool   // NUL ends what newline ends otherwise
	byName   bool   // operands are module names
	version  string // of the kernel, or ""
	base     string // root of the tree, or ""
	json     bool
	buildID  bool // the build ID is printed too
}

// A shown module is what is printed about one.
type shown struct {
	text    []byte          // for standard output, also when there is an error
	invalid []modinfo.Field // parameters without a name
	err     error
}

// show gathers what is to be printed about a module.
func (o *infoOptions) show(r *modinfo.Reader, m found) shown {
	if o.json {
		text, err := m.json(r)
		return shown{text: text, err: err}
	}
	var s shown
	s.text = o.appendHead(nil, m)
	if o.filtered && o.field == "filename" {
		return s
	}
	fields, err := o.fields(r, m)
	if err != nil {
		s.err = err
		return s
	}
	s.text = o.appendFields(s.text, fields)
	if !o.filtered || o.field == "parm" {
		var params []modinfo.Param
		params, s.invalid = modinfo.Params(fields)
		s.text = o.appendParams(s.text, params)
	}
	return s
}

// fields gives a module's fields in the order in which they are printed.
func (o *infoOptions) fields(r *modinfo.Reader, m found) ([]modinfo.Field, error) {
	if m.path == "" {
		return m.dir.builtinFields(m.name)
	}
	info, err := readModule(r, m.path)
	if err != nil {
		return nil, err
	}
	if info.Fields == nil {
		return nil, errNoInfo
	}
	fields := info.Fields
	if o.buildID && len(info.BuildID) > 0 {
		fields = append(fields, modinfo.Field{Key: "build-id", Value: hexLines(info.BuildID)})
	}
	return append(fields, signatureFields(info.Signature)...), nil
}

// errNoInfo: kmod calls it "No data available".
var errNoInfo = errors.New("it has no .modinfo section, so it is no kernel module")

// readModule reads a module's file; the error does not name it.
func readModule(r *modinfo.Reader, path string) (*modinfo.Module, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return r.Read(f, info.Size())
}

// signatureFields are the five that modinfo makes of a signature. One that names
// no certificate by its serial number has none, as with kmod 34 and OpenSSL.
func signatureFields(s *modinfo.Signature) []modinfo.Field {
	if s == nil || s.Type == modinfo.PKCS7 && s.Serial == nil {
		return nil
	}
	key := s.Serial
	if s.Type != modinfo.PKCS7 {
		key = s.KeyID
	}
	return []modinfo.Field{
		{Key: "sig_id", Value: s.Type.String()},
		{Key: "signer", Value: s.Signer},
		{Key: "sig_key", Value: hexLines(key)},
		{Key: "sig_hashalgo", Value: s.Hash},
		{Key: "signature", Value: hexLines(s.Bytes)},
	}
}

// hexLines is how kmod prints bytes: 01:02:…, twenty to a line.
func hexLines(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i > 0 {
			s.WriteByte(':')
			if i%20 == 0 {
				s.WriteString("\n\t\t")
			}
		}
		fmt.Fprintf(&s, "%02X", c)
	}
	return s.String()
}

// end is what ends each piece of output.
func (o *infoOptions) end() string {
	if o.null {
		return "\x00"
	}
	return "\n"
}

// label is a key and blanks up to column 16; a longer one has none.
func label(key string) string {
	return key + ":" + strings.Repeat(" ", max(0, 15-len(key)))
}

func (o *infoOptions) appendHead(b []byte, m found) []byte {
	path := m.path
	if path == "" {
		path = "(builtin)"
	}
	switch {
	case !o.filtered && m.path == "":
		b = append(b, label("name")+m.name+o.end()+label("filename")+path+o.end()...)
	case !o.filtered:
		b = append(b, label("filename")+path+o.end()...)
	case o.field == "filename":
		b = append(b, path+o.end()...)
	case o.field == "name" && m.path == "":
		b = append(b, m.name+o.end()...)
	}
	return b
}

// appendFields prints all but the parameters, which are put together at the end.
func (o *infoOptions) appendFields(b []byte, fields []modinfo.Field) []byte {
	for _, f := range fields {
		switch {
		case (!o.filtered || o.field == "parm") && (f.Key == "parm" || f.Key == "parmtype"):
		case o.filtered && f.Key != o.field:
		case o.filtered:
			b = append(b, f.Value+o.end()...)
		case o.null:
			b = append(b, f.Key+"="+f.Value+o.end()...)
		default:
			b = append(b, label(f.Key)+f.Value+o.end()...)
		}
	}
	return b
}

// appendParams prints parameters: NAME:TEXT (TYPE), or the one that there is.
// When nothing else is printed, a bare type has parentheses too.
func (o *infoOptions) appendParams(b []byte, params []modinfo.Param) []byte {
	for _, p := range params {
		if !o.filtered {
			b = append(b, label("parm")...)
		}
		b = append(b, p.Name+":"+p.Text...)
		switch {
		case p.Typed && (p.Described || o.filtered):
			b = append(b, " ("+p.Type+")"...)
		case p.Typed:
			b = append(b, p.Type...)
		}
		b = append(b, o.end()...)
	}
	return b
}
