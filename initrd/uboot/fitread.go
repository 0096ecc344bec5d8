package uboot

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// hashes are the algorithms U-Boot knows.
var hashes = map[string]func() hash.Hash{
	"crc32":  func() hash.Hash { return crc32.NewIEEE() },
	"md5":    md5.New,
	"sha1":   sha1.New,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

// tree is what is of interest in a FIT.
type tree struct {
	*walker
	description string
	time        uint32
	byDefault   string            // name of a configuration
	ramdisks    map[string]string // configuration → name of an image
	images      []*imageNode
}

type imageNode struct {
	name, kind, arch string
	hashes           []*hashNode

	data           *property // in the tree
	offset, behind *uint32   // mkimage -E: where they lie in the file, or behind the tree
	size           *uint32
}

type hashNode struct {
	name, algorithm string
	value           []byte
}

func openFIT(r io.ReaderAt) (*Image, error) {
	w, err := newWalker(r)
	if err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	t := &tree{walker: w, ramdisks: make(map[string]string)}
	if err := w.walk(t.property); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	node, err := t.ramdisk()
	if err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	return t.open(node)
}

// property takes in one property.
func (t *tree) property(p property) (err error) {
	switch {
	case len(p.path) == 0:
		return t.root(p)
	case p.path[0] == "configurations":
		return t.configuration(p)
	case p.path[0] == "images" && len(p.path) == 2:
		return t.image(p.path[1]).set(t, p)
	case p.path[0] == "images" && len(p.path) == 3 && strings.HasPrefix(p.path[2], "hash"):
		return t.image(p.path[1]).hash(p.path[2]).set(t, p)
	}
	return nil
}

func (t *tree) root(p property) (err error) {
	switch p.name {
	case "description":
		t.description, err = t.string(p)
	case "timestamp":
		t.time, err = t.number(p)
	}
	return err
}

func (t *tree) configuration(p property) (err error) {
	switch {
	case len(p.path) == 1 && p.name == "default":
		t.byDefault, err = t.string(p)
	case len(p.path) == 2 && p.name == "ramdisk":
		t.ramdisks[p.path[1]], err = t.string(p)
	}
	return err
}

// image returns the node below /images that has the name.
func (t *tree) image(name string) *imageNode {
	// properties come node by node: it is the last one or new
	if n := len(t.images); n > 0 && t.images[n-1].name == name {
		return t.images[n-1]
	}
	t.images = append(t.images, &imageNode{name: name})
	return t.images[len(t.images)-1]
}

func (n *imageNode) set(t *tree, p property) (err error) {
	switch p.name {
	case "type":
		n.kind, err = t.string(p)
	case "arch":
		n.arch, err = t.string(p)
	case "data":
		n.data = &p
	case "data-position":
		n.offset, err = t.pointer(p)
	case "data-offset":
		n.behind, err = t.pointer(p)
	case "data-size":
		n.size, err = t.pointer(p)
	}
	return err
}

func (n *imageNode) hash(name string) *hashNode {
	if k := len(n.hashes); k > 0 && n.hashes[k-1].name == name {
		return n.hashes[k-1]
	}
	n.hashes = append(n.hashes, &hashNode{name: name})
	return n.hashes[len(n.hashes)-1]
}

func (h *hashNode) set(t *tree, p property) (err error) {
	switch p.name {
	case "algo":
		h.algorithm, err = t.string(p)
	case "value":
		h.value, err = t.bytes(p)
	}
	return err
}

// ramdisk chooses the image.
func (t *tree) ramdisk() (*imageNode, error) {
	name, named := t.ramdisks[t.byDefault]
	at := slices.IndexFunc(t.images, func(n *imageNode) bool {
		return n.kind == "ramdisk" && (!named || n.name == name)
	})
	switch {
	case at >= 0:
		return t.images[at], nil
	case named:
		return nil, fmt.Errorf("there is no ramdisk %s, which %s names", name, t.byDefault)
	}
	return nil, fmt.Errorf("there is no ramdisk among the %d images", len(t.images))
}

// place returns where the data of n lie. Like U-Boot it looks outside first.
func (t *tree) place(n *imageNode) (off, size int64, err error) {
	switch {
	case n.offset != nil && n.size != nil:
		return int64(*n.offset), int64(*n.size), nil
	case n.behind != nil && n.size != nil:
		return (t.total+3)&^3 + int64(*n.behind), int64(*n.size), nil
	case n.data != nil:
		return n.data.off, n.data.size, nil
	}
	return 0, 0, fmt.Errorf("fit: %s has no data", n.name)
}

// maxHashes bounds the work per byte of data. mkimage's examples have two.
const maxHashes = 8

func (t *tree) open(n *imageNode) (*Image, error) {
	if len(n.hashes) > maxHashes {
		return nil, fmt.Errorf("fit: %s has %d hashes, more than %d", n.name, len(n.hashes), maxHashes)
	}
	off, size, err := t.place(n)
	if err != nil {
		return nil, err
	}
	i := &Image{
		Format: FormatFIT, Name: t.description, Arch: n.arch, Time: t.time,
		Offset: off, Size: size, r: io.NewSectionReader(t.r, off, size),
	}
	for _, h := range n.hashes {
		newHash, known := hashes[h.algorithm]
		if !known {
			return nil, fmt.Errorf("fit: %s: %s: there is no algorithm %q", n.name, h.name, h.algorithm)
		}
		i.checks = append(i.checks, check{n.name, h.algorithm, newHash(), h.value})
	}
	return i, nil
}

// maxValue bounds the values that are read.
const maxValue = 1024

func (t *tree) bytes(p property) ([]byte, error) {
	if p.size > maxValue {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", p.name, p.size, maxValue)
	}
	b := make([]byte, p.size)
	if n, err := t.r.ReadAt(b, p.off); n < len(b) {
		return nil, fmt.Errorf("%s: %w", p.name, cutOff(err))
	}
	return b, nil
}

// string reads a string; of a list of them the first.
func (t *tree) string(p property) (string, error) {
	if p.size > maxValue {
		return "", fmt.Errorf("%s has %d bytes, more than %d", p.name, p.size, maxValue)
	}
	s, err := t.text(p.off, p.size)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.name, err)
	}
	return strings.ToValidUTF8(s, "?"), nil
}

func (t *tree) number(p property) (uint32, error) {
	b, err := t.bytes(p)
	if err == nil && len(b) != 4 {
		err = fmt.Errorf("%s has %d bytes, not 4", p.name, len(b))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (t *tree) pointer(p property) (*uint32, error) {
	v, err := t.number(p)
	return &v, err
}
