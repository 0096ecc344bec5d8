package chroot

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

func TestResolve(t *testing.T) {
	tree := fstest.MapFS{
		"usr/lib/modules/6.1/a.ko": &fstest.MapFile{},
		"lib":                      link("usr/lib"),
		"abs":                      link("/usr/lib/modules"),
		"up":                       link("../../../usr/lib"),
		"usr/lib/out":              link("/../../lib/modules"),
		"dangling":                 link("/nowhere"),
		"loop":                     link("loop"),
		"a":                        link("b"),
		"b":                        link("a"),
		"through":                  link("usr/lib/modules/6.1/a.ko/x"),
		"empty":                    link(""),
	}
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{name: ".", want: "."},
		{name: "usr/lib", want: "usr/lib"},
		{name: "lib/modules/6.1/a.ko", want: "usr/lib/modules/6.1/a.ko"},
		{name: "abs/6.1", want: "usr/lib/modules/6.1"},
		{name: "up/modules", want: "usr/lib/modules"},
		{name: "lib/out/6.1", want: "usr/lib/modules/6.1"},
		{name: "usr/../../../lib", want: "usr/lib"},
		{name: "dangling", err: fs.ErrNotExist},
		{name: "empty", err: fs.ErrNotExist},
		{name: "loop", err: ErrLoop},
		{name: "a/c", err: ErrLoop},
	} {
		got, err := Resolve(tree, c.name)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Resolve(%q) = %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
	if _, err := Resolve(tree, "through"); err == nil {
		t.Error("a path through a file was accepted")
	}
}
