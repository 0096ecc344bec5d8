package depmod

import (
	"bytes"
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"
)

// superFastHash is Paul Hsieh's hash, seeded with the length, by which kmod
// orders whatever no file orders. kmod loads 16 bits in the host's byte order;
// here it is always little endian, as on every host that builds initrds.
func superFastHash(s string) uint32 {
	h := uint32(len(s))
	for ; len(s) >= 4; s = s[4:] {
		h += half(s)
		h = h<<16 ^ half(s[2:])<<11 ^ h
		h += h >> 11
	}
	switch len(s) {
	case 3:
		h += half(s)
		h ^= h << 16
		h ^= uint32(int32(int8(s[2]))) << 18
		h += h >> 11
	case 2:
		h += half(s)
		h ^= h << 11
		h += h >> 17
	case 1:
		h += uint32(int32(int8(s[0])))
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	h += h >> 6
	return h
}

func half(s string) uint32 { return uint32(s[0]) | uint32(s[1])<<8 }

// Numbers of hash buckets in kmod, which decide the order of what it walks.
const (
	moduleBuckets = 512
	symbolBuckets = 2048
)

// hashed is what kmod walks a hash table by: the bucket, then the name's bytes.
type hashed struct {
	bucket uint32
	name   string
}

func hashedName(name string, buckets uint32) hashed {
	return hashed{superFastHash(name) % buckets, name}
}

func (h hashed) compare(other hashed) int {
	if h.bucket != other.bucket {
		return cmp.Compare(h.bucket, other.bucket)
	}
	return strings.Compare(h.name, other.name)
}

// errOrderLine: kmod then does not sort at all.
var errOrderLine = errors.New("a line is too long or the last one has no newline; the whole file is ignored")

// parseOrder reads a modules.order: one path a line, its uncompressed name.
func parseOrder(data []byte) (lines []string, number int, err error) {
	const maxLine = 4095 // bytes, newline included
	lines = make([]string, 0, bytes.Count(data, []byte("\n")))
	for rest := string(data); rest != ""; {
		number++
		line, behind, ok := strings.Cut(rest, "\n")
		if !ok || len(line) >= maxLine {
			return nil, number, errOrderLine
		}
		lines = append(lines, line)
		rest = behind
	}
	return lines, number, nil
}

// orderKey is how modules.order names a module: without its packing. kmod makes
// it of the module name's length and three more bytes, so that of a name with a
// dot in it, a.b.ko, it knows "a.b."; such names do not occur in a kernel.
func orderKey(file string) string {
	end := len(file) - len(path.Base(file)) + len(ModuleName(file)) + len(".ko")
	return file[:min(end, len(file))]
}

// sortModules puts modules into the order of all index files: those that lines
// names, in its order, then the rest in hash order. Of repeated lines the first
// counts, or with last the last.
func sortModules(modules []*Module, lines []string, last bool) {
	place := make(map[string]int, len(lines))
	for i, line := range lines {
		if _, seen := place[line]; !seen || last {
			place[line] = i
		}
	}
	type key struct {
		place  int
		hash   hashed
		module *Module
	}
	keys := make([]key, len(modules))
	for i, m := range modules {
		at, listed := place[orderKey(m.Path)]
		if !listed {
			at = len(lines)
		}
		keys[i] = key{at, hashedName(m.Name, moduleBuckets), m}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.place != b.place {
			return cmp.Compare(a.place, b.place)
		}
		return a.hash.compare(b.hash)
	})
	for i, k := range keys {
		modules[i] = k.module
	}
}
