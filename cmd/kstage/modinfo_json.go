package main

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kstage/kstage/modinfo"
)

// moduleJSON is what --json prints about a module; docs/modinfo.schema.json
// describes it. Members are only ever added.
type moduleJSON struct {
	Name     string `json:"name"`
	Filename string `json:"filename,omitempty"` // absent when the module is built in
	Builtin  bool   `json:"builtin"`

	// What the file is; absent when the module is built in.
	Compression string `json:"compression,omitempty"` // none, gzip, xz, zstd
	Size        int64  `json:"size,omitempty"`        // of the unpacked file, in bytes
	Machine     string `json:"machine,omitempty"`     // as debug/elf names it, without EM_, in lower case
	Bits        int    `json:"bits,omitempty"`        // 32, 64
	ByteOrder   string `json:"byte_order,omitempty"`  // little, big

	// Fields have every string of .modinfo, by key; the values of a key stand in
	// stored order.
	Fields       map[string][]string `json:"fields"`
	Params       []paramJSON         `json:"params"`
	Dependencies []string            `json:"dependencies"` // the field depends, taken apart

	// Absent when the module is built in; so are the last two without such a thing.
	Exports   []exportJSON   `json:"exports,omitzero"`
	Imports   []importJSON   `json:"imports,omitzero"`
	Sections  []sectionJSON  `json:"sections,omitzero"`
	BuildID   string         `json:"build_id,omitempty"` // hex
	Signature *signatureJSON `json:"signature,omitempty"`
}

type paramJSON struct {
	Name        string  `json:"name"`
	Description *string `json:"description,omitempty"`
	Type        *string `json:"type,omitempty"`
}

type exportJSON struct {
	Name string `json:"name"`
	CRC  string `json:"crc,omitempty"`
}

type importJSON struct {
	Name string `json:"name"`
	Bind string `json:"bind"` // strong, weak, listed, ext-named
	CRC  string `json:"crc,omitempty"`
}

type sectionJSON struct {
	Name string `json:"name"`
	Size uint64 `json:"size"`
}

type signatureJSON struct {
	Type   string `json:"type"`
	Signer string `json:"signer,omitempty"`
	Serial string `json:"serial,omitempty"` // hex, as are the next and the last
	KeyID  string `json:"key_id,omitempty"`
	Hash   string `json:"hash"`
	Bytes  string `json:"signature,omitempty"`
}

// json gives the line for a module.
func (m found) json(r *modinfo.Reader) ([]byte, error) {
	j := moduleJSON{Name: m.name, Filename: m.path, Builtin: m.path == ""}
	if j.Builtin {
		fields, err := m.dir.builtinFields(m.name)
		if err != nil {
			return nil, err
		}
		j.setFields(fields)
	} else {
		info, err := readModule(r, m.path)
		if err != nil {
			return nil, err
		}
		if info.Fields == nil {
			return nil, errNoInfo
		}
		j.setFile(info)
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(&j)
	return line.Bytes(), err
}

func (j *moduleJSON) setFields(fields []modinfo.Field) {
	j.Fields, j.Params, j.Dependencies = make(map[string][]string), []paramJSON{}, []string{}
	for _, f := range fields {
		j.Fields[f.Key] = append(j.Fields[f.Key], f.Value)
	}
	params, _ := modinfo.Params(fields)
	for _, p := range params {
		one := paramJSON{Name: p.Name}
		if p.Described {
			one.Description = &p.Text
		}
		if p.Typed {
			one.Type = &p.Type
		}
		j.Params = append(j.Params, one)
	}
	for _, list := range j.Fields["depends"] {
		for name := range strings.SplitSeq(list, ",") {
			if name != "" {
				j.Dependencies = append(j.Dependencies, name)
			}
		}
	}
}

func (j *moduleJSON) setFile(m *modinfo.Module) {
	j.setFields(m.Fields)
	j.Compression, j.Size = m.Compression.String(), m.Size
	j.Machine = strings.ToLower(strings.TrimPrefix(m.Machine.String(), "EM_"))
	j.Bits, j.ByteOrder = 32, "little"
	if m.Class == elf.ELFCLASS64 {
		j.Bits = 64
	}
	if m.Data == elf.ELFDATA2MSB {
		j.ByteOrder = "big"
	}
	j.Exports, j.Imports, j.Sections = []exportJSON{}, []importJSON{}, []sectionJSON{}
	for _, e := range m.Exports {
		j.Exports = append(j.Exports, exportJSON{e.Name, crcText(e.CRC)})
	}
	for _, i := range m.Imports {
		j.Imports = append(j.Imports, importJSON{i.Name, i.Bind.String(), crcText(i.CRC)})
	}
	for _, s := range m.Sections {
		j.Sections = append(j.Sections, sectionJSON(s))
	}
	j.BuildID = hex.EncodeToString(m.BuildID)
	if s := m.Signature; s != nil {
		j.Signature = &signatureJSON{s.Type.String(), s.Signer, serialText(s.Serial), hex.EncodeToString(s.KeyID),
			s.Hash, hex.EncodeToString(s.Bytes)}
	}
}

// serialText is a certificate's number in hex; nothing when it is not known.
func serialText(serial []byte) string {
	if serial != nil && len(serial) == 0 {
		return "00"
	}
	return hex.EncodeToString(serial)
}

// crcText is a checksum as Module.symvers has it; nothing for none.
func crcText(crc uint64) string {
	if crc == 0 {
		return ""
	}
	return fmt.Sprintf("0x%08x", crc)
}
