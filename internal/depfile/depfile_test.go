package depfile_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kstage/kstage/internal/depfile"
)

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := depfile.Write(&b, []string{"out dir/initrd.img"}, []string{"rootfs/b c", "rootfs", "rootfs/$x#y", "rootfs", "a=b"})
	const want = "out\\ dir/initrd.img: \\\n  ./rootfs \\\n  rootfs/$$x\\#y \\\n  rootfs/b\\ c \\\n  a=b\n" +
		"\n./rootfs \\\n  rootfs/$$x\\#y \\\n  rootfs/b\\ c:\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct{ target, from, has string }{
		{"out", "a\nb", `the control character '\n'`},
		{"out\n", "a", `the control character '\n'`},
		{"out", "a\tb", `the control character '\t'`},
		{"out", "50%", "the character %"},
		{"x=y", "a", "an equals sign"},
		{"out", "x=y", "an equals sign, and no other stands before it"},
		{"out", "=y", "the character = in front"},
		{"out", `a\ b`, `a backslash before one of space, #, : and \ or at its end`},
		{"out", `a\`, `a backslash before one of space, #, : and \ or at its end`},
		{"out", "a: b", "a colon before a space or at its end"},
		{"out", "a:", "a colon before a space or at its end"},
		{"out", "a ", "a space at its end"},
		{"out", "", "no characters"},
		{"out", "~root", "the character ~ in front"},
		{"out", "lib(a.o)", "brackets at its end, as a member of an archive"},
	} {
		var b bytes.Buffer
		var name *depfile.NameError
		if err := depfile.Write(&b, []string{c.target}, []string{c.from}); !errors.As(err, &name) || name.Has != c.has || b.Len() > 0 {
			t.Errorf("%q %q: %v\n%s", c.target, c.from, err, b.String())
		}
	}
}
