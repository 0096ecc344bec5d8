package depfile_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstage/kstage/internal/depfile"
)

// names are such in which each character but letters and digits stands within, in front and behind,
// words that make has a meaning for, and those of real systems.
func names() []string {
	all := []string{"export", "include", "define", "a=b", "Arany_=Class_Gold=_F", "private", "[.1.gz", "a(b", "äöü", "\xff", "x\x80y", ".hidden", "-dash",
		`systemd\x2dx.slice`, "Foo::Bar.3pm", "a  b", " #$", "a & b", "a: b", "a:", "lib{a,b}"}
	for _, c := range "!\"#$%&'()*+,-.:;<=>?@[\\]^_`{|}~ " {
		all = append(all, fmt.Sprintf("1%c2", c), fmt.Sprintf("%c2", c), fmt.Sprintf("1%c", c))
	}
	return all
}

// TestToolsRead asks make and ninja: each name that is not refused is the source of an
// output, which is made anew when the source is newer or gone, and else is not.
func TestToolsRead(t *testing.T) {
	for _, tool := range []string{"make", "ninja"} {
		t.Run(tool, func(t *testing.T) {
			if _, err := exec.LookPath(tool); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			p := newProject(t, tool)
			p.expect("at first", "all")
			p.expect("nothing has changed", "")
			newer := func(name string) error {
				later := time.Now().Add(time.Hour)
				return os.Chtimes(name, later, later)
			}
			p.sources(newer)
			p.expect("all are newer", "all")
			p.sources(func(name string) error {
				if tool == "make" && strings.Contains(name, "=") {
					return newer(name) // make stops without it
				}
				return os.Remove(name)
			})
			p.expect("all are gone", "all")
		})
	}
}

// A project has an output for each source, in files for make and ninja.
type project struct {
	*testing.T
	dir, tool string
	names     []string // of the sources
	outs      []string // likewise
}

func newProject(t *testing.T, tool string) *project {
	p := &project{T: t, dir: t.TempDir(), tool: tool}
	makefile, ninja := "all:\n", "rule made\n command = echo $out >> log; : > $out\n depfile = $out.d\n"
	for n, name := range names() {
		var rules bytes.Buffer
		out := fmt.Sprintf("out%d", n)
		err := depfile.Write(&rules, []string{out}, []string{"Above", name})
		if err != nil { // see TestWriteRefuses
			t.Logf("%q: %v", name, err)
			continue
		}
		p.names, p.outs = append(p.names, name), append(p.outs, out)
		p.write(out+".d", rules.String())
		makefile += fmt.Sprintf("all: %s\n%[1]s:\n\t@echo $@ >> log; : > $@\n-include %[1]s.d\n", out)
		ninja += fmt.Sprintf("build %s: made\n", out)
	}
	p.write("Makefile", makefile)
	p.write("build.ninja", ninja)
	p.write("log", "")
	p.write("Above", "")
	p.sources(func(name string) error { return os.WriteFile(name, nil, 0o644) })
	return p
}

func (p *project) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// sources does something with each source.
func (p *project) sources(do func(name string) error) {
	p.Helper()
	for _, name := range p.names {
		if err := do(filepath.Join(p.dir, name)); err != nil {
			p.Fatal(err)
		}
	}
}

// expect runs the tool, which must make all outputs anew or none.
func (p *project) expect(when, which string) {
	p.Helper()
	p.write("log", "")
	cmd := exec.Command(p.tool)
	cmd.Dir = p.dir
	said, err := cmd.CombinedOutput()
	if err != nil {
		p.Fatalf("%s: %v\n%s", when, err, said)
	}
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		p.Fatal(err)
	}
	made := make(map[string]bool)
	for line := range strings.Lines(string(log)) {
		made[strings.TrimSpace(line)] = true
	}
	for n, name := range p.names {
		if out := p.outs[n]; made[out] != (which == "all") {
			p.Errorf("%s: %q: made %v", when, name, made[out])
		}
	}
}
