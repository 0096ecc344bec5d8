package main

import (
	"io"
	"regexp"
	"strings"
	"testing"
)

// What a concept page names must be there, and it must fit on a screen.
func TestTopics(t *testing.T) {
	root := newRoot(newUI(io.Discard, io.Discard))
	root.InitDefaultHelpCmd()
	call := regexp.MustCompile(`kstage ([a-z]+)`)
	option := regexp.MustCompile(`--([a-z-]+)`)
	for _, topic := range topics() {
		lines := strings.Split(strings.TrimSuffix(topic.text, "\n"), "\n")
		if len(lines) > 40 {
			t.Errorf("%s has %d lines", topic.name, len(lines))
		}
		for _, line := range lines {
			if len(line) > 84 {
				t.Errorf("%s: a long line: %s", topic.name, line)
			}
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				if c, _, err := root.Find(m[1:2]); (err != nil || c == root) && m[1] != "puts" {
					t.Errorf("%s: there is no command %s", topic.name, m[0])
				}
			}
			for _, m := range option.FindAllStringSubmatch(line, -1) {
				known := false
				for _, c := range root.Commands() {
					known = known || c.Flags().Lookup(m[1]) != nil
				}
				if !known {
					t.Errorf("%s: no command has --%s", topic.name, m[1])
				}
			}
		}
	}
}
