//go:build unix

package initrd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gnuTar runs GNU tar and gives what it writes; the test is skipped where it is
// not installed.
func gnuTar(t *testing.T, args ...string) []byte {
	t.Helper()
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		t.Skip("no GNU tar to read from")
	}
	cmd := exec.Command("tar", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tar %s: %v\n%s", args, err, &stderr)
	}
	return out
}

// What goes through GNU tar, in any of its formats, gives the image that GNU
// cpio makes of the same directory.
func TestGNUTarAsGNUCpio(t *testing.T) {
	gnuCpio(t)
	const at = 1_700_000_001
	for _, format := range []string{"gnu", "oldgnu", "posix", "ustar", "v7"} {
		t.Run(format, func(t *testing.T) {
			dir := sampleDir(t, at)
			p := func(name string) string { return filepath.Join(dir, name) }
			if format == "v7" { // which has no other types than these
				must(t, os.Remove(p("pipe")))
			} else if os.Getuid() == 0 {
				must(t,
					exec.Command("mknod", "-m", "640", p("node"), "b", "259", "65793").Run(),
					exec.Command("mknod", "-m", "666", p("null"), "c", "1", "3").Run(),
					os.Lchown(p("init"), 1, 2),
					os.Chown(p("a-b"), 1000, 100),
				)
			}
			if format != "v7" && format != "ustar" { // these have 100 and 255 bytes for a path
				long := p(strings.Repeat("a/long/path/", 40))
				must(t, os.MkdirAll(long, 0o755), os.WriteFile(long+"/"+strings.Repeat("n", 255), []byte("deep"), 0o600))
			}
			must(t, exec.Command("find", dir, "-depth", "-exec", "touch", "-h", "-d", fmt.Sprint("@", at), "{}", "+").Run())
			tree := tarTree(t, gnuTar(t, "-C", dir, "--format="+format, "-c", "."))
			names := strings.ReplaceAll(paths(tree), " ", "\n")
			theirs := runCpio(t, dir, names, "-o", "-H", "newc", "--reproducible")
			sameEntries(t, items(t, imageOf(t, tree, Options{ModTime: at})), items(t, []byte(theirs)))
		})
	}
}

// Holes are zeros again, in each of the four ways to write them down.
func TestGNUTarSparse(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	for i := range int64(6) { // more parts than one header has room for
		_, err := f.WriteAt([]byte("data"), i<<20)
		must(t, err)
	}
	must(t, f.Truncate(9<<20+5), f.Close())
	want, err := os.ReadFile(f.Name())
	must(t, err)
	for _, format := range [][]string{
		{"--format=gnu"},
		{"--format=posix", "--sparse-version=0.0"},
		{"--format=posix", "--sparse-version=0.1"},
		{"--format=posix", "--sparse-version=1.0"},
	} {
		args := append([]string{"-C", dir, "-S", "-c", "sparse"}, format...)
		archive := gnuTar(t, args...)
		if len(archive) > 1<<20 {
			t.Fatalf("%v: tar wrote no holes, %d bytes", format, len(archive))
		}
		for _, it := range items(t, imageOf(t, tarTree(t, archive), Options{})) {
			if it.name == "sparse" && it.data != string(want) {
				t.Errorf("%v: %d bytes, and not the same", format, len(it.data))
			}
		}
	}
}

// GNU tar tells a capability as SCHILY.xattr.security.capability.
func TestGNUTarCapability(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ping"), nil, 0o755))
	if out, err := exec.Command("setcap", "cap_net_raw+ep", filepath.Join(dir, "ping")).CombinedOutput(); err != nil {
		t.Skipf("no capabilities here: %v %s", err, out)
	}
	archive := gnuTar(t, "-C", dir, "--xattrs", "--xattrs-include=*", "-c", "ping")
	problems, err := new(Tree).AddTar(bytes.NewReader(archive), new(memSpool))
	if err != nil || len(problems) != 1 || problems[0].Rule != "capability" {
		t.Errorf("problems %v, error %v", problems, err)
	}
}

// The archive of a volume's title, incremental dumps and links given first.
func TestGNUTarOddities(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), []byte("x"), 0o600))
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	tree := tarTree(t, gnuTar(t, "-C", dir, "--format=gnu", "-V", "title", "-g", snapshot, "-c", "."))
	if got := paths(tree); got != ". d d/f" {
		t.Errorf("got %s", got)
	}
}
