//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sparse makes a file of that many bytes, all holes.
func sparse(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Chmod(0o666), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tarFile makes a tar with one file of that many zero bytes.
func tarFile(t *testing.T, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(openDir(t), "x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Mode: 0o644, Size: size})
	if err == nil {
		_, err = io.CopyN(w, zeros{}, size)
	}
	if err = errors.Join(err, w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// withTemp lets a command keep its temporary files in a directory of its own.
func withTemp(t *testing.T, cmd *exec.Cmd, dir string) *exec.Cmd {
	t.Helper()
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	t.Cleanup(func() { wantEmpty(t, dir) })
	return cmd
}

// TestNoRoomForContents: a tar's contents wait in a temporary file.
func TestNoRoomForContents(t *testing.T) {
	archive := tarFile(t, 1<<20)
	t.Run("file size limit", func(t *testing.T) {
		temp := openDir(t)
		cmd := withTemp(t, unprivileged(t, "pack", archive, "-o", "-"), temp)
		cmd.Args = append([]string{"sh", "-c", `ulimit -f 64; exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = "/bin/sh"
		failsCleanly(t, cmd, temp, "spool: temporary file in "+temp+": file too large")
	})
	t.Run("full disk", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can mount a small disk")
		}
		disk := openDir(t)
		if err := syscall.Mount("none", disk, "tmpfs", 0, "size=64k,mode=777"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(disk, 0) })
		cmd := withTemp(t, unprivileged(t, "pack", archive, "-o", "-"), disk)
		failsCleanly(t, cmd, disk, "no space left on device\n  hint: TMPDIR names the directory for temporary files")
	})
	t.Run("no directory", func(t *testing.T) {
		out := openDir(t)
		cmd := unprivileged(t, "pack", archive, "-o", filepath.Join(out, "x.cpio"))
		cmd.Env = append(os.Environ(), "TMPDIR=/nonexistent")
		failsCleanly(t, cmd, out, "temporary file in /nonexistent: no such file or directory")
	})
}

// interrupted sends Ctrl-C once begun says so, and wants the exit status for that
// and nothing in dir.
func interrupted(t *testing.T, cmd *exec.Cmd, dir string, begun func() bool) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for !begun() {
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "error: interrupted, nothing was written") {
		t.Errorf("%q", &stderr)
	}
	wantEmpty(t, dir)
}

// filled says that a directory is no longer empty.
func filled(t *testing.T, dir string) func() bool {
	return func() bool {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries) > 0
	}
}

// TestInterruptStalledInput: Ctrl-C works while the source has nothing to say.
func TestInterruptStalledInput(t *testing.T) {
	archive, err := os.ReadFile(tarFile(t, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	out := openDir(t)
	cmd := withTemp(t, unprivileged(t, "pack", "-", "-o", filepath.Join(out, "x.cpio")), openDir(t))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.Stdin = r
	interrupted(t, cmd, out, func() bool {
		// returns when all but the last 64 KiB, which the pipe holds, are read
		_, err := w.Write(archive[:len(archive)-4096])
		return err == nil
	})
}

// TestInterruptTar: in the middle of writing, with contents in the spool.
func TestInterruptTar(t *testing.T) {
	out := openDir(t)
	cmd := withTemp(t, unprivileged(t, "pack", tarFile(t, 256<<20), "-c", "gzip:9", "-o", filepath.Join(out, "x.cpio")), openDir(t))
	interrupted(t, cmd, out, filled(t, out))
}

// TestSourceChanges: a file that shrinks or grows while it is read.
func TestSourceChanges(t *testing.T) {
	const size = 512 << 20
	for name, change := range map[string]struct {
		size int64
		want string
	}{
		"shrinks": {4096, "large: has "},
		"grows":   {size + 1, "large: has more than the 536870912 bytes it had when the tree was made"},
	} {
		t.Run(name, func(t *testing.T) {
			root, out := openDir(t), openDir(t)
			large := filepath.Join(root, "large")
			sparse(t, large, size)
			cmd := unprivileged(t, "pack", root, "-o", filepath.Join(out, "x.cpio.gz"))
			done := make(chan error)
			go func() {
				for begun := filled(t, out); !begun(); {
					time.Sleep(time.Millisecond)
				}
				done <- os.Truncate(large, change.size)
			}()
			failsCleanly(t, cmd, out, change.want)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTooLargeFile: more than the format has room for; without it all is well.
func TestTooLargeFile(t *testing.T) {
	root, out := openDir(t), openDir(t)
	sparse(t, filepath.Join(root, "huge"), 5<<30)
	archive := filepath.Join(openDir(t), "sparse.tar")
	if b, err := exec.Command("tar", "-C", root, "-S", "-cf", archive, "huge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	const text = "huge: 5368709120 bytes are too many: a file in a cpio image holds at most 4294967295"
	for _, source := range []string{root, archive} {
		image := filepath.Join(out, "x.cpio")
		failsCleanly(t, withTemp(t, unprivileged(t, "pack", source, "-o", image), openDir(t)), out, text)
		if b, err := unprivileged(t, "pack", source, "--exclude", "huge", "-o", image).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
		if err := os.Remove(image); err != nil {
			t.Error(err)
		}
	}
}

// TestUnreadableSources: each is named, and can be left out.
func TestUnreadableSources(t *testing.T) {
	root, out := openDir(t), openDir(t)
	archive := tarFile(t, 1)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(root, "private/below"), 0o755),
		os.WriteFile(filepath.Join(root, "secret"), nil, 0o600),
		os.Chmod(filepath.Join(root, "private"), 0),
		os.Chmod(archive, 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "private"), 0o700) })
	image := filepath.Join(out, "x.cpio")
	failsCleanly(t, unprivileged(t, "pack", root, "-o", image), out, "private: permission denied\n  hint: make it readable for the user who runs kstage, or leave it out with --exclude")
	failsCleanly(t, unprivileged(t, "pack", archive, "-o", image), out, "x.tar: permission denied")
	failsCleanly(t, unprivileged(t, "pack", root, "--exclude", "private", "--add", filepath.Join(root, "secret")+":s", "-o", image), out, "permission denied")
	if b, err := unprivileged(t, "pack", root, "--exclude", "private", "--exclude", "/secret", "-o", image).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

// deep makes a file in a directory so deep that its path has so many bytes.
func deep(t *testing.T, root string, length int) {
	t.Helper()
	dir, err := os.OpenRoot(root)
	for ; err == nil && length > 2*200; length -= 200 {
		name := strings.Repeat("d", 199)
		var sub *os.Root
		if err = dir.Mkdir(name, 0o755); err == nil {
			sub, err = dir.OpenRoot(name)
			dir.Close()
			dir = sub
		}
	}
	half := strings.Repeat("d", length/2)
	if err == nil {
		err = errors.Join(dir.Mkdir(half, 0o755), dir.WriteFile(half+"/"+strings.Repeat("f", length-length/2-1), []byte("deep"), 0o644), dir.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLongPaths: up to 4,095 bytes an image holds them, whatever the system says
// of such a path, and longer ones are named.
func TestLongPaths(t *testing.T) {
	for length, want := range map[int]string{4095: "", 4096: "has 4096 bytes, at most 4095 are allowed"} {
		root, out := openDir(t), openDir(t)
		deep(t, root, length)
		for _, source := range []string{root, gnuTar(t, root)} {
			image := filepath.Join(out, "x.cpio")
			cmd := unprivileged(t, "pack", source, "-c", "none", "-o", image)
			if want != "" {
				failsCleanly(t, cmd, out, want)
				continue
			}
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			out, err := exec.Command("cpio", "-it", "--quiet", "-F", image).Output()
			if !slices.ContainsFunc(strings.Split(string(out), "\n"), func(name string) bool { return len(name) == length }) {
				t.Errorf("no name has %d bytes, %v", length, err)
			}
		}
	}
}

// sameImage packs sources one by one, none of which has owners, and wants the same
// bytes of each. It gives the image's path.
func sameImage(t *testing.T, sources ...string) string {
	t.Helper()
	var first []byte
	image := filepath.Join(openDir(t), "x.cpio")
	for i, source := range sources {
		if b, err := unprivileged(t, "pack", source, "--owner", "0:0", "-c", "none", "-o", image).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", source, err, b)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !bytes.Equal(b, first) {
			t.Errorf("%s gives another image than %s", source, sources[0])
		}
		first = b
	}
	return image
}

// gnuTar makes a tar of a directory.
func gnuTar(t *testing.T, dir string) string {
	t.Helper()
	archive := filepath.Join(openDir(t), "x.tar")
	if b, err := exec.Command("tar", "-C", dir, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return archive
}

// TestOddNames: any bytes that a file system takes, and links that lead in
// circles, are packed as they are.
func TestOddNames(t *testing.T) {
	root := openDir(t)
	names := []string{"\x01\x1b[31m", " ", "-rf", "a\nb", "\xff\xfe", "caf\xc3\xa9", "\xff\xfe/\x80\n"}
	for _, name := range names {
		path := filepath.Join(root, name)
		var err error
		if name == "\xff\xfe" {
			err = os.Mkdir(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("loop", filepath.Join(root, "loop")), os.Symlink("self/self", filepath.Join(root, "self")),
		os.Symlink(".", filepath.Join(root, "here")), os.Symlink("\xff", filepath.Join(root, "\xfd")), os.Mkdir(filepath.Join(root, "dev"), 0o755),
		os.Chmod(root, 0o755)); err != nil {
		t.Fatal(err)
	}
	image := sameImage(t, root, gnuTar(t, root))
	out := openDir(t)
	cmd := exec.Command("cpio", "-id", "--quiet", "-F", image, "--no-absolute-filenames")
	cmd.Dir = out
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if err := errors.Join(os.Remove(filepath.Join(out, "dev/console")), os.Remove(filepath.Join(out, "dev/null"))); err != nil {
		t.Log(err) // only root has them
	}
	if b, err := exec.Command("diff", "-r", "--no-dereference", root, out).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

// TestManyFiles packs 100,000 small files, in memory where the host has room for
// them there: making them takes longer than packing them.
func TestManyFiles(t *testing.T) {
	root := openDir(t)
	if shm, err := os.MkdirTemp("/dev/shm", "kstage-test-"); err == nil { //nolint:usetesting // see above
		t.Cleanup(func() { os.RemoveAll(shm) })
		root = shm
	}
	for d := range 100 {
		dir := filepath.Join(root, fmt.Sprint("d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 1000 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", f)), []byte(dir), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	archive := gnuTar(t, root)
	image := sameImage(t, root, archive)
	sameImage(t, image, archive)
	out, err := exec.Command("cpio", "-it", "--quiet", "-F", image).Output()
	if n := strings.Count(string(out), "\n"); err != nil || n != 1+100+100_000+3 {
		t.Errorf("%d entries, %v", n, err)
	}
}
