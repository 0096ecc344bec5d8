package fdt

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// FuzzWalk: a walk ends with an error, or the nodes that it met make a tree in
// which a walk meets the same.
func FuzzWalk(f *testing.F) {
	f.Add(board())
	f.Add(board()[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := list(data)
		if err != nil {
			return
		}
		after, err := list(rebuilt(t, data))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(before, after) {
			t.Errorf("%s\nbecame\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	})
}

// rebuilt writes again what a walk meets.
func rebuilt(t *testing.T, data []byte) []byte {
	tree, err := New(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var b Builder
	depth := 0
	err = tree.Walk(func(n *Node) error {
		for ; depth > len(n.Path); depth-- {
			b.End()
		}
		depth++
		name := ""
		if len(n.Path) > 0 {
			name = n.Path[len(n.Path)-1]
		}
		b.Begin(name)
		for _, p := range n.Properties {
			value, err := tree.Bytes(p)
			if err != nil {
				return err
			}
			b.Property(p.Name, value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for ; depth > 0; depth-- {
		b.End()
	}
	return b.Bytes()
}
