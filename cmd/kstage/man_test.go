package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

const manDir = "../../docs/man"

// The pages in docs/man are what the commands say now.
func TestManPagesAreUpToDate(t *testing.T) {
	want := manPages(newRoot(newUI(io.Discard, io.Discard)))
	have, err := os.ReadDir(manDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range have {
		if want[f.Name()] == "" {
			t.Errorf("docs/man/%s is of no command", f.Name())
		}
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(manDir, name))
		if err != nil {
			t.Error(err)
		} else if d := cmp.Diff(strings.ReplaceAll(string(got), "\r\n", "\n"), text); d != "" {
			t.Errorf("docs/man/%s is out of date (go generate ./cmd/kstage):\n%s", name, d)
		}
	}
}

// Pages that are written by hand know every option.
func TestHandWrittenManPages(t *testing.T) {
	for _, c := range newRoot(newUI(io.Discard, io.Discard)).Commands() {
		if !writtenByHand[c.Name()] {
			continue
		}
		page, err := os.ReadFile("../../docs/kstage-" + c.Name() + ".8")
		if err != nil {
			t.Error(err)
			continue
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(string(page), strings.ReplaceAll("--"+f.Name, "-", `\-`)) {
				t.Errorf("kstage-%s.8 does not tell of --%s", c.Name(), f.Name)
			}
		})
	}
}

func TestRoffText(t *testing.T) {
	got := roffText("one -x\n'two' a\\b\n\n  .set in\n    more\n\nthree\n")
	want := "one \\-x\n\\&\\(aqtwo\\(aq a\\eb\n.PP\n.RS 2\n.nf\n\\&.set in\n  more\n.fi\n.RE\n.PP\nthree\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
