package main

import (
	"strings"

	"github.com/kstage/kstage/internal/fdt"
)

// deviceTree makes a device tree of a readable form: a line for each node, its
// path, and its properties between blanks, the strings of a list between bars.
//
//	/ compatible=acme,board
//	/soc
//	/soc/ethernet@1 compatible=acme,mac-v2|acme,mac status=okay
func deviceTree(text string) []byte {
	var b fdt.Builder
	open := 0 // nodes that have not ended
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		path := strings.Split(strings.TrimSuffix(words[0], "/"), "/")
		for ; open >= len(path); open-- {
			b.End()
		}
		b.Begin(path[len(path)-1])
		open++
		for _, property := range words[1:] {
			name, value, _ := strings.Cut(property, "=")
			b.Text(name, strings.Split(value, "|")...)
		}
	}
	for ; open > 0; open-- {
		b.End()
	}
	return b.Bytes()
}
