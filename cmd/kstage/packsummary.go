package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kstage/kstage/initrd"
)

// summarize tells a person what was made, and why like this.
func (p *packer) summarize(s initrd.Summary, why string, kernels []*kernel) {
	text := cmp.Or(p.title, strings.TrimPrefix(p.output, "-"))
	if text == "" {
		text = "standard output"
	}
	if p.dryRun {
		text += " (not written)"
	}
	unpacked := ""
	if s.Raw != s.Compressed {
		unpacked = fmt.Sprintf(" (%s unpacked)", size(s.Raw))
	}
	p.say("%s: %s%s%s, %s", text, size(s.Compressed), p.format.label(), unpacked, count(s.Entries, "entry", "entries"))
	p.say("  %s", p.segments(s.Segments, why))
	p.kernels(kernels)
	p.format.say(p.ui)
}

// segments words what the image consists of: "12.0 MiB as they are, 1.1 MiB zstd
// (boot/config-6.12: RD_ZSTD=y)".
func (p *packer) segments(all []initrd.Segment, why string) string {
	var parts []string
	for i, s := range all {
		method := s.Method.String()
		switch {
		case i == 0 && p.image.Early != nil && p.image.Early.Len() > 0:
			method = "early"
		case s.Method != initrd.None:
			method = p.image.Compression.String()
		case p.image.Compression.Method != initrd.None:
			method = "compressed already"
		}
		parts = append(parts, size(s.Size)+" "+method)
	}
	if len(all) == 1 {
		parts[0] = p.image.Compression.String()
	}
	text := strings.Join(parts, ", ")
	if why != "" {
		text += " (" + why + ")"
	}
	return text
}
