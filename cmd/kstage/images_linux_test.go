package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kstage/kstage/initrd"
)

// kstage runs the program in this process.
func kstage(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return out.String(), errs.String(), code
}

// writeImage packs entries into a plain image.
func writeImage(t *testing.T, o initrd.Options, entries ...initrd.Entry) string {
	t.Helper()
	var tree initrd.Tree
	for _, e := range entries {
		if err := tree.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(openDir(t), "image")
	if _, err := initrd.WriteFile(t.Context(), name, &tree, o); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestLsLikeCpio: ls -l has the columns of cpio -tv, but for the time, where cpio
// leaves out hour or year.
func TestLsLikeCpio(t *testing.T) {
	entries := []initrd.Entry{
		{Path: "console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
		{Path: "disk", Mode: fs.ModeDevice | 0o660, GID: 6, Major: 259, Minor: 1048575},
		{Path: "fifo", Mode: fs.ModeNamedPipe | 0o622},
		{Path: "link", Mode: fs.ModeSymlink, Target: "../to/there"},
		{Path: "owned", Mode: 0o640, UID: 1000, GID: 4294967295},
		initrd.File("name with blank and ü", 0o444, bytes.Repeat([]byte("x"), 123456)),
	}
	for bits := range uint32(8) { // setuid, setgid, sticky
		for _, perm := range []fs.FileMode{0, 0o111, 0o644, 0o777} {
			mode := perm
			for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
				if bits>>i&1 != 0 {
					mode |= bit
				}
			}
			name := fmt.Sprintf("%d%03o", bits, perm)
			entries = append(entries, initrd.Entry{Path: name, Mode: mode}, initrd.Entry{Path: "d" + name, Mode: mode | fs.ModeDir})
		}
	}
	image := writeImage(t, initrd.Options{ModTime: 1_100_000_000}, entries...)
	cmd := exec.Command("cpio", "-itvn", "--quiet")
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdin, cmd.Env = f, append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	theirs, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no cpio to compare with")
	}
	if err != nil {
		t.Fatal(err)
	}
	ours, _, code := kstage("ls", "-l", image)
	want := strings.ReplaceAll(columns(string(theirs)), "Nov 9 2004", "2004-11-09 11:33")
	if got := columns(ours); code != exitOK || got != want {
		t.Errorf("exit status %d\n%s\nwant\n%s", code, got, want)
	}
}

// columns makes all space between columns one blank.
func columns(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

// TestEscape compares with ls -b, which escapes blanks as well.
func TestEscape(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain", "ü…", "a\nb", "\t\r\v\f\a\b", "\x1b[31mred", "\x7f", "\xff\xfeü", `back\slash`, `"quoted"`, "\u0085", "ends\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ls", "-b", "-U", dir)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := escape(name), strings.TrimSuffix(string(out), "\n"); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStrangeNames: names that are no text come through as they are, and never to a
// terminal.
func TestStrangeNames(t *testing.T) {
	const name, target = "\x1b[2J\n\xff", "\xfe\x1b"
	image := writeImage(t, initrd.Options{}, initrd.File(name, 0o644, []byte("found")), initrd.Entry{Path: "link", Mode: fs.ModeSymlink, Target: target})
	if out, _, _ := kstage("ls", "-0", image); out != ".\x00"+name+"\x00link\x00" {
		t.Errorf("-0 gives %q", out)
	}
	out, errs, _ := kstage("ls", "--json", image)
	lines := strings.Split(out, "\n")
	var first, second struct {
		NameB64   string `json:"name_base64"`
		TargetB64 string `json:"target_base64"`
	}
	if err := errors.Join(json.Unmarshal([]byte(lines[1]), &first), json.Unmarshal([]byte(lines[2]), &second)); err != nil {
		t.Fatal(err, errs)
	}
	for text, want := range map[string]string{first.NameB64: name, second.TargetB64: target} {
		if got, err := base64.StdEncoding.DecodeString(text); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if out, _, _ := kstage("cat", image, name); out != "found" {
		t.Errorf("cat gives %q", out)
	}
	dir := openDir(t)
	cut := filepath.Join(openDir(t), "cut")
	if b, err := os.ReadFile(image); err != nil || os.WriteFile(cut, b[:234], 0o644) != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"ls", cut}, {"ls", image}, {"ls", "-l", image}, {"cat", image, "\x1b[2J"}, {"cat", image, "link"}, {"size", image}, {"extract", image, "-C", dir},
		{"extract", image, "-C", dir}, {"diff", image, t.TempDir()}, {"diff", image, dir}, {"ls", image, "\x1b"},
	} {
		out, errs, _ := kstage(args...)
		if text := out + errs; strings.IndexByte(text, 0x1b) >= 0 || strings.IndexByte(text, 0xff) >= 0 {
			t.Errorf("%q: prints %q %q", args, out, errs)
		}
	}
}

// TestExtractAsUser: files belong to whoever unpacks, with their modes; devices
// cannot be made.
func TestExtractAsUser(t *testing.T) {
	image := writeImage(t, initrd.Options{ModTime: 77},
		initrd.Entry{Path: "su", Mode: fs.ModeSetuid | 0o4711, UID: 12, GID: 34},
		initrd.Entry{Path: "closed", Mode: fs.ModeDir | 0o555},
		initrd.Entry{Path: "closed/in", Mode: 0o400},
		initrd.Entry{Path: "null", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Major: 1, Minor: 3})
	dir := openDir(t)
	cmd := unprivileged(t, "extract", image, "-C", filepath.Join(dir, "out"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "out/closed"), 0o755) })
	for name, mode := range map[string]fs.FileMode{"su": fs.ModeSetuid | 0o711, "closed": fs.ModeDir | 0o555, "closed/in": 0o400} {
		info, err := os.Lstat(filepath.Join(dir, "out", name))
		if err != nil {
			t.Fatal(err)
		}
		uid := info.Sys().(*syscall.Stat_t).Uid
		if info.Mode() != mode || info.ModTime().Unix() != 77 || os.Getuid() == 0 && uid != nobody {
			t.Errorf("%s: %v of %d, %v", name, info.Mode(), uid, info.ModTime())
		}
	}
	empty := openDir(t)
	cmd = unprivileged(t, "extract", image, "-C", empty, "--devices")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "extract: null: operation not permitted") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestExtractInterrupted: while the image comes in, nothing has been written, and no
// temporary file stays.
func TestExtractInterrupted(t *testing.T) {
	image, err := os.ReadFile(writeImage(t, initrd.Options{}, initrd.File("large", 0o644, make([]byte, 4<<20))))
	if err != nil {
		t.Fatal(err)
	}
	dir, temp := openDir(t), openDir(t)
	cmd := unprivileged(t, "extract", "-", "-C", filepath.Join(dir, "out"))
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(image[:3<<20]); err != nil { // more than pipes and buffers hold
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "interrupted, nothing was written") {
		t.Errorf("%q", &stderr)
	}
	wantEmpty(t, dir)
	wantEmpty(t, temp)
}

// TestExtractNoRoom: a full disk is told, where the temporary file lies as well.
func TestExtractNoRoom(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	image := writeImage(t, initrd.Options{}, initrd.File("large", 0o644, make([]byte, 1<<20)))
	disk := openDir(t)
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=64k,mode=777"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(disk, 0)
	out := openDir(t)
	cmd := unprivileged(t, "extract", image, "-C", filepath.Join(out, "out"))
	cmd.Env = append(os.Environ(), "TMPDIR="+disk)
	failsCleanly(t, cmd, out, "temporary file in "+disk+": no space left on device")
	wantEmpty(t, disk)
	failsCleanly(t, unprivileged(t, "extract", image, "-C", disk), disk, "extract: large: no space left on device")
}

// TestDiffOfImages: owners, devices and the root are told, times are not.
func TestDiffOfImages(t *testing.T) {
	device := initrd.Entry{Path: "d", Mode: fs.ModeDevice | 0o600, Major: 8, Minor: 1}
	link := initrd.Entry{Path: "l", Mode: fs.ModeSymlink, Target: "a\x1b"}
	file := initrd.Entry{Path: "f", Mode: fs.ModeSetuid | 0o755, UID: 1, GID: 2}
	root := initrd.Entry{Path: ".", Mode: fs.ModeDir | 0o700}
	a := writeImage(t, initrd.Options{ModTime: 1}, root, device, link, file)
	device.Minor, link.Target, file.UID, file.Mode, root.Mode = 2, "b", 3, 0o755, fs.ModeDir|0o755
	b := writeImage(t, initrd.Options{ModTime: 2}, root, device, link, file)
	out, _, code := kstage("diff", a, b)
	want := "~ .  mode 0700 → 0755\n~ d  device 8:1 → 8:2\n~ f  mode 4755 → 0755; owner 1:2 → 3:2\n~ l  target a\\033 → b\n"
	if out != want || code != exitProblems {
		t.Errorf("exit status %d\n%s\nwant\n%s", code, out, want)
	}
}

// TestDistance against a table that was counted by hand.
func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"motd", "modt"}: 2, {"kitten", "sitting"}: 3, {"same", "same"}: 0, {"abc", "xabc"}: 1,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%q: %d, want %d", pair, got, want)
		}
	}
	start := strings.Repeat("x", 4095)
	if got := distance(start, start[:4000]); got != 95 {
		t.Errorf("long names: %d", got)
	}
}
