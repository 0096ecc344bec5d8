package main

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Bounds of the drawn tree. Beyond maxNodes the small files of a directory are
// summed up, and what lies deeper than maxDepth has its path for a name.
const (
	maxNodes = 8000
	maxDepth = 24
)

// The kinds of files that the page tells apart, by the place that they lie in.
const (
	kindDirectories = iota
	kindModules
	kindFirmware
	kindIndexes
	kindPrograms
	kindLibraries
	kindBoot
	kindOther
)

var kindNames = []string{"directories", "modules", "firmware", "module indexes", "programs", "libraries", "kernel and boot files", "other files"}

// fileKind tells a file's kind.
func fileKind(p string) int {
	p = strings.TrimPrefix(p, "usr/")
	top, rest, _ := strings.Cut(p, "/")
	base := path.Base(p)
	switch {
	case moduleEnding().MatchString(p):
		return kindModules
	case strings.HasPrefix(p, "lib/firmware/"):
		return kindFirmware
	case strings.HasPrefix(p, "lib/modules/") && strings.HasPrefix(base, "modules."):
		return kindIndexes
	case top == "boot":
		return kindBoot
	case top == "bin" || top == "sbin" || strings.HasPrefix(rest, "bin/") || strings.HasPrefix(rest, "sbin/") || p == "init":
		return kindPrograms
	case strings.HasSuffix(base, ".so") || strings.Contains(base, ".so."):
		return kindLibraries
	}
	return kindOther
}

// A kindSum sums up the files of a kind.
type kindSum struct {
	Kind int
	Name string
	sized
}

// sumKinds sums up by kind, the largest first. Entries without content are left out.
func sumKinds(files []sized) []kindSum {
	by := make([][]sized, len(kindNames))
	for _, f := range files {
		if f.Size > 0 {
			k := fileKind(f.Path)
			by[k] = append(by[k], f)
		}
	}
	var all []kindSum
	for kind, files := range by {
		if len(files) > 0 {
			all = append(all, kindSum{kind, kindNames[kind], sum("", files)})
		}
	}
	slices.SortStableFunc(all, func(a, b kindSum) int { return cmp.Compare(b.Size, a.Size) })
	return all
}

// A treeNode is a file, or a directory with all below it.
type treeNode struct {
	Name    string      `json:"n"` // escaped
	Kind    int         `json:"k"`
	Files   int         `json:"f"`
	Size    int64       `json:"s"`           // bytes of contents
	InImage int64       `json:"i,omitempty"` // bytes
	Kids    []*treeNode `json:"c,omitempty"` // the largest first

	kids  map[string]*treeNode
	depth int
}

// newFileTree sums the files up by directory.
func newFileTree(files []sized) *treeNode {
	root := &treeNode{Name: "/"}
	for _, f := range files {
		n := root
		n.count(f)
		if f.Path == "." {
			continue
		}
		parts := strings.SplitN(f.Path, "/", maxDepth)
		for i, part := range parts {
			n = n.kid(part)
			n.count(f)
			if i == len(parts)-1 && f.regular {
				n.Kind = fileKind(f.Path)
			}
		}
	}
	all := root.settle(nil)
	slices.SortStableFunc(all, func(a, b *treeNode) int {
		return cmp.Or(cmp.Compare(b.weight(), a.weight()), cmp.Compare(a.depth, b.depth), strings.Compare(a.Name, b.Name))
	})
	kept := make(map[*treeNode]bool)
	for _, n := range all[:min(len(all), maxNodes)] {
		kept[n] = true
	}
	root.prune(kept)
	return root
}

func (n *treeNode) count(f sized) {
	n.Files += f.Files
	n.Size += f.Size
	if f.InImage != nil {
		n.InImage += *f.InImage
	}
}

func (n *treeNode) weight() int64 { return max(n.Size, n.InImage) }

func (n *treeNode) kid(name string) *treeNode {
	if n.kids == nil {
		n.kids = make(map[string]*treeNode)
	}
	if n.kids[name] == nil {
		n.kids[name] = &treeNode{Name: escape(name), depth: n.depth + 1}
	}
	return n.kids[name]
}

// settle sorts the nodes and appends all of them to list.
func (n *treeNode) settle(list []*treeNode) []*treeNode {
	list = append(list, n)
	for _, k := range n.kids {
		n.Kids = append(n.Kids, k)
	}
	if len(n.Kids) > 0 {
		n.Kind = kindDirectories
	}
	slices.SortFunc(n.Kids, func(a, b *treeNode) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Name, b.Name))
	})
	for _, k := range n.Kids {
		list = k.settle(list)
	}
	return list
}

// prune sums up what is not kept. A directory weighs no less than what is in it, so
// that it is kept when one of its files is.
func (n *treeNode) prune(kept map[*treeNode]bool) {
	var rest treeNode
	n.Kids = slices.DeleteFunc(n.Kids, func(k *treeNode) bool {
		if !kept[k] {
			rest.Files, rest.Size, rest.InImage = rest.Files+k.Files, rest.Size+k.Size, rest.InImage+k.InImage
		}
		return !kept[k]
	})
	for _, k := range n.Kids {
		k.prune(kept)
	}
	if rest.Files > 0 {
		rest.Name, rest.Kind = "("+plural(rest.Files, "smaller entry", "smaller entries")+")", kindOther
		n.Kids = append(n.Kids, &rest)
	}
}
