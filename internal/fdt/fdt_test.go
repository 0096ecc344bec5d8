package fdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// board is a small tree with everything that a walk meets.
func board() []byte {
	var b Builder
	b.Begin("")
	b.Text("compatible", "vendor,board", "vendor,soc")
	b.Number("#address-cells", 2)
	b.Begin("soc")
	b.Property("ranges", nil)
	b.words(tokenNop)
	b.Begin("serial@10000000")
	b.Text("status", "okay")
	b.End()
	b.Begin("empty")
	b.End()
	b.End()
	b.End()
	return b.Bytes()
}

// list is what a walk meets, a line for each node.
func list(data []byte) (lines []string, err error) {
	t, err := New(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	err = t.Walk(func(n *Node) error {
		line := "/" + strings.Join(n.Path, "/")
		for _, p := range n.Properties {
			b, err := t.Bytes(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %s=%q", p.Name, b)
		}
		lines = append(lines, line)
		return nil
	})
	return lines, err
}

func TestWalk(t *testing.T) {
	got, err := list(board())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`/ compatible="vendor,board\x00vendor,soc\x00" #address-cells="\x00\x00\x00\x02"`,
		`/soc ranges=""`,
		`/soc/serial@10000000 status="okay\x00"`,
		`/soc/empty`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// A tree that ends too early is an error wherever it ends.
func TestCutOff(t *testing.T) {
	whole := board()
	for n := range whole {
		if _, err := list(whole[:n]); !errors.Is(err, ErrCutOff) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	padded := append(bytes.Clone(whole), 0, 0, 0, 0) // as dtc -p 4 makes it
	binary.BigEndian.PutUint32(padded[4:], uint32(len(padded)))
	if _, err := list(padded); err != nil {
		t.Error(err)
	}
	if _, err := list(padded[:len(padded)-1]); !errors.Is(err, ErrCutOff) {
		t.Error(err)
	}
}

// What is refused, and what is said.
func TestRefused(t *testing.T) {
	be := binary.BigEndian
	good := board()
	at := func(s string) int { return bytes.Index(good, []byte(s)) }
	tests := []struct {
		name   string
		damage func(p []byte)
		want   string
	}{
		{"magic", func(p []byte) { copy(p, "\x1f\x8b\x08\x00") }, "offset 0: there is no device tree: it begins with 1f8b0800, not d00dfeed"},
		{"version", func(p []byte) { be.PutUint32(p[20:], 16) }, "the tree has version 16"},
		{"later version", func(p []byte) { be.PutUint32(p[24:], 18) }, "version 17 (compatible with 18)"},
		{"struct", func(p []byte) { be.PutUint32(p[36:], math.MaxUint32) }, "the struct block, bytes 56 to 4294967351"},
		{"uneven struct", func(p []byte) { p[11]++ }, "the struct block, bytes 57 to"},
		{"strings", func(p []byte) { be.PutUint32(p[12:], 3) }, "the strings block, bytes 3 to"},
		{"many strings", func(p []byte) { be.PutUint32(p[32:], maxNames+1); be.PutUint32(p[4:], 1<<30) }, "more than 65536"},
		{"larger", func(p []byte) { be.PutUint32(p[4:], math.MaxUint32) }, "the last of 4294967295 bytes: the device tree is cut off"},
		{"token", func(p []byte) { p[structStart+3] = 7 }, "offset 56: there is no token 7"},
		{"no root", func(p []byte) { p[structStart+3], p[structStart+7] = tokenNop, tokenNop }, "a property lies outside of the tree"},
		{"nothing", func(p []byte) { p[structStart+3] = tokenEnd }, "the tree has no root"},
		{"end", func(p []byte) { p[structStart+3] = tokenNodeEnd }, "a node ends that has not begun"},
		{"long property", func(p []byte) { p[structStart+12] = 0x10 }, "leads out of the block"},
		{"property name", func(p []byte) { p[structStart+16] = 1 }, "a property's name is at 16777216 of"},
		{"endless name", func(p []byte) { p[len(p)-1] = 'x' }, "a property's name does not end"},
		{"no end", func(p []byte) { be.PutUint32(p[36:], be.Uint32(p[36:])-4) }, "the block ends in the middle of a node"},
		{"early end", func(p []byte) { be.PutUint32(p[at("serial")-4:], tokenEnd) }, "the tree ends in the middle of a node"},
	}
	for _, tt := range tests {
		p := bytes.Clone(good)
		tt.damage(p)
		if _, err := list(p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// Trees that a builder can make, but that are none or cost too much.
func TestLimits(t *testing.T) {
	tests := []struct {
		name string
		fill func(*Builder)
		want string
	}{
		{"tokens", func(b *Builder) { b.add(bytes.Repeat([]byte{0, 0, 0, tokenNop}, maxTokens)) }, "more than 1048576 tokens"},
		{"depth", func(b *Builder) {
			for range maxDepth {
				b.Begin("x")
			}
		}, "nested more than 64 deep"},
		{"name", func(b *Builder) { b.Begin(strings.Repeat("x", maxName+1)) }, "node name: does not end in a zero byte"},
		{"property name", func(b *Builder) { b.Number(strings.Repeat("x", maxName+1), 1) }, "a property's name does not end"},
		{"value", func(b *Builder) { b.Text("x", strings.Repeat("x", MaxValue)) }, "x has 1025 bytes, more than 1024"},
		{"late property", func(b *Builder) { b.Begin("x"); b.End(); b.Number("y", 1) }, "a property follows the nodes of its node"},
		{"second root", func(b *Builder) { b.End(); b.Begin("") }, "there is a second root"},
	}
	for _, tt := range tests {
		var b Builder
		b.Begin("")
		tt.fill(&b)
		b.End()
		if _, err := list(b.Bytes()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	var b Builder
	b.Begin("")
	b.Text("list", "a", "", "b")
	b.Property("open", []byte("a\x00b"))
	b.Property("none", nil)
	b.Number("number", 7)
	b.End()
	tree, err := New(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Walk(func(n *Node) error {
		for i, want := range [][]string{{"a", "", "b"}, nil, nil} {
			got, err := tree.Strings(n.Properties[i])
			if !slices.Equal(got, want) || (err != nil) != (i == 1) {
				t.Errorf("%s: %q, %v", n.Properties[i].Name, got, err)
			}
		}
		if v, err := tree.Number(n.Properties[3]); v != 7 || err != nil {
			t.Error(v, err)
		}
		if _, err := tree.Number(n.Properties[0]); err == nil || !strings.Contains(err.Error(), "list has 5 bytes, not 4") {
			t.Error(err)
		}
		return io.ErrClosedPipe
	})
	if err != io.ErrClosedPipe {
		t.Error(err)
	}
}
