// Package imagetest writes crafted boot images for tests from a readable text
// form, with every field of the format under the author's hand. Only tests use it.
// It stands on nothing of ours, so that what it writes can prove ours wrong.
//
// Each line is a word and its operands; empty lines and everything after a '#'
// that starts a word are skipped. Numbers are as Go writes them; a word may be
// quoted as in Go.
//
//	file NAME [DATA] [FIELD=VALUE...]     an entry with mode 0100644
//	dir NAME [FIELD=VALUE...]             with mode 040755
//	symlink NAME TARGET [FIELD=VALUE...]  with mode 0120777
//	char NAME MAJOR MINOR [FIELD=...]     with mode 020600
//	trailer [FIELD=VALUE...]              the end of an archive
//	bytes "TEXT"... | hex DIGITS... | zeros N | repeat N "TEXT"
//	align N [REST]                        zero bytes until the size is REST more than a multiple of N
//	cut N                                 takes the last N bytes away again
//	gzip [comment=S]                      what follows, to the line "end", compressed
//	zstd [window=LOG] [skippable]         in a raw block, with a window of 2^LOG bytes
//	xz [check=none|crc32|crc64|sha256]    in an uncompressed chunk
//	lz4 [frame]                           all literals, in the legacy format unless told
//	end
//
// The fields of an entry are magic, ino, mode, uid, gid, nlink, mtime, size,
// devmajor, devminor, rdevmajor, rdevminor, namesize and check. A VALUE that is no
// number stands in the header as it is, cut or filled with blanks to 8 bytes. Sizes
// are those of name and data unless given. data=TEXT*N is data, N times; name=TEXT*N
// likewise; nonul leaves the zero byte behind the name out.
package imagetest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// File writes the image whose text form is in the file path.
func File(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	image, err := Image(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return image
}

// Image writes the image of the text form.
func Image(text string) ([]byte, error) {
	w := writer{parts: []part{{}}}
	for n, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if err == nil && len(words) > 0 {
			err = w.line(words[0], words[1:])
		}
		if err != nil {
			return nil, fmt.Errorf("image text: line %d: %w", n+1, err)
		}
	}
	if len(w.parts) != 1 {
		return nil, fmt.Errorf("image text: a %s has no end", w.parts[len(w.parts)-1].method)
	}
	return w.parts[0].data.Bytes(), nil
}

// writer holds the image and the compressed parts that have begun.
type writer struct{ parts []part }

type part struct {
	method  string
	options map[string]string
	data    bytes.Buffer
}

func (w *writer) line(word string, args []string) error {
	out := &w.parts[len(w.parts)-1].data
	switch word {
	case "file", "dir", "symlink", "char", "trailer":
		return writeEntry(out, word, args)
	case "gzip", "zstd", "xz", "lz4":
		w.parts = append(w.parts, part{method: word, options: options(args)})
		return nil
	case "end":
		return w.end()
	case "bytes":
		out.WriteString(strings.Join(args, ""))
		return nil
	case "hex":
		b, err := hex.DecodeString(strings.Join(args, ""))
		out.Write(b)
		return err
	}
	return size(out, word, args)
}

// size carries out the words that have a number.
func size(out *bytes.Buffer, word string, args []string) error {
	var n [2]int
	for i := range min(len(args), 2) {
		v, err := strconv.Atoi(args[i])
		if err != nil && !(word == "repeat" && i == 1) {
			return err
		}
		n[i] = v
	}
	switch {
	case word == "zeros":
		out.Write(make([]byte, n[0]))
	case word == "cut" && n[0] <= out.Len():
		out.Truncate(out.Len() - n[0])
	case word == "align" && n[0] > 0:
		for out.Len()%n[0] != n[1] {
			out.WriteByte(0)
		}
	case word == "repeat" && len(args) == 2:
		out.WriteString(strings.Repeat(args[1], n[0]))
	default:
		return fmt.Errorf("%s %q is not understood", word, args)
	}
	return nil
}

func (w *writer) end() error {
	if len(w.parts) == 1 {
		return fmt.Errorf("there is nothing to end")
	}
	p := &w.parts[len(w.parts)-1]
	w.parts = w.parts[:len(w.parts)-1]
	data, err := compress(p.method, p.options, p.data.Bytes())
	w.parts[len(w.parts)-1].data.Write(data)
	return err
}

func options(args []string) map[string]string {
	o := map[string]string{}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		o[key] = value
	}
	return o
}

// fields are the names of the header's fields, in its order.
var fields = strings.Fields("ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check")

var modes = map[string]string{"file": "0100644", "dir": "040755", "symlink": "0120777", "char": "020600", "trailer": "0"}

func writeEntry(out *bytes.Buffer, word string, args []string) error {
	name, data, o := "TRAILER!!!", "", map[string]string{"magic": "070701", "nlink": "1", "mode": modes[word]}
	need := map[string]int{"file": 1, "dir": 1, "symlink": 2, "char": 3}[word]
	if len(args) < need {
		return fmt.Errorf("%s takes %d operands", word, need)
	}
	plain, rest := args[:need], args[need:]
	if word == "file" && len(rest) > 0 && !strings.Contains(rest[0], "=") && rest[0] != "nonul" {
		data, rest = rest[0], rest[1:]
	}
	switch word {
	case "symlink":
		data = plain[1]
	case "char":
		o["rdevmajor"], o["rdevminor"] = plain[1], plain[2]
	}
	if word != "trailer" {
		name = plain[0]
	}
	for key, value := range options(rest) {
		o[key] = value
	}
	data, name = times(o, "data", data), times(o, "name", name)
	if _, without := o["nonul"]; !without {
		name += "\x00"
	}
	setDefault(o, "size", len(data))
	setDefault(o, "namesize", len(name))
	return writeRaw(out, o, name, data)
}

func setDefault(o map[string]string, key string, n int) {
	if _, given := o[key]; !given {
		o[key] = strconv.Itoa(n)
	}
}

// times gives the option key, a text or a text with "*N" behind.
func times(o map[string]string, key, without string) string {
	value, given := o[key]
	if !given {
		return without
	}
	if i := strings.LastIndexByte(value, '*'); i >= 0 {
		if n, err := strconv.Atoi(value[i+1:]); err == nil {
			return strings.Repeat(value[:i], n)
		}
	}
	return value
}

func writeRaw(out *bytes.Buffer, o map[string]string, name, data string) error {
	header := o["magic"]
	for _, f := range fields {
		value, given := o[f]
		n, err := strconv.ParseUint(value, 0, 32)
		switch {
		case !given:
			header += "00000000"
		case err != nil:
			header += fmt.Sprintf("%-8.8s", value)
		default:
			header += fmt.Sprintf("%08x", n)
		}
	}
	for _, s := range []string{header + name, data} {
		out.WriteString(s + strings.Repeat("\x00", -len(s)&3))
	}
	return nil
}

// split cuts a line into words.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		var word strings.Builder
		for line != "" && line[0] != ' ' && line[0] != '\t' && line[0] != '\r' {
			if line[0] != '"' {
				word.WriteByte(line[0])
				line = line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("%.20s: %w", line, err)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			line = line[len(quoted):]
		}
		words = append(words, word.String())
	}
}
