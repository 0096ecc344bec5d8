package uboot

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/fdt"
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
	*fdt.Tree
	r           io.ReaderAt
	description string
	time        uint32
	byDefault   string            // name of a configuration
	ramdisks    map[string]string // configuration → name of an image
	images      []*imageNode
}

type imageNode struct {
	name, kind, arch string
	hashes           []*hashNode

	data           *fdt.Property // in the tree
	offset, behind *uint32       // mkimage -E: where they lie in the file, or behind the tree
	size           *uint32
}

type hashNode struct {
	name, algorithm string
	value           []byte
}

func openFIT(r io.ReaderAt) (*Image, error) {
	blob, err := fdt.New(r)
	if err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	t := &tree{Tree: blob, r: r, ramdisks: make(map[string]string)}
	if err := t.Walk(t.node); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	node, err := t.ramdisk()
	if err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	return t.open(node)
}

// node takes in one node.
func (t *tree) node(n *fdt.Node) error {
	for _, p := range n.Properties {
		if err := t.property(n.Path, p); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) property(path []string, p fdt.Property) error {
	switch {
	case len(path) == 0:
		return t.root(p)
	case path[0] == "configurations":
		return t.configuration(path[1:], p)
	case path[0] == "images" && len(path) == 2:
		return t.image(path[1]).set(t, p)
	case path[0] == "images" && len(path) == 3 && strings.HasPrefix(path[2], "hash"):
		return t.image(path[1]).hash(path[2]).set(t, p)
	}
	return nil
}

func (t *tree) root(p fdt.Property) (err error) {
	switch p.Name {
	case "description":
		t.description, err = t.text(p)
	case "timestamp":
		t.time, err = t.Number(p)
	}
	return err
}

func (t *tree) configuration(path []string, p fdt.Property) (err error) {
	switch {
	case len(path) == 0 && p.Name == "default":
		t.byDefault, err = t.text(p)
	case len(path) == 1 && p.Name == "ramdisk":
		t.ramdisks[path[0]], err = t.text(p)
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

func (n *imageNode) set(t *tree, p fdt.Property) (err error) {
	switch p.Name {
	case "type":
		n.kind, err = t.text(p)
	case "arch":
		n.arch, err = t.text(p)
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

func (h *hashNode) set(t *tree, p fdt.Property) (err error) {
	switch p.Name {
	case "algo":
		h.algorithm, err = t.text(p)
	case "value":
		h.value, err = t.Bytes(p)
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
		return (t.Size+3)&^3 + int64(*n.behind), int64(*n.size), nil
	case n.data != nil:
		return n.data.Off, n.data.Size, nil
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

// text reads a string; of a list of them the first.
func (t *tree) text(p fdt.Property) (string, error) {
	list, err := t.Strings(p)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return strings.ToValidUTF8(list[0], "?"), nil
}

func (t *tree) pointer(p fdt.Property) (*uint32, error) {
	v, err := t.Number(p)
	return &v, err
}
