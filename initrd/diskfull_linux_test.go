package initrd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// A limit on the size of files stands in for a full disk: writes stop in the
// middle and the system says so. It holds for a whole process, hence a second
// one.
func TestWriteFileDiskFull(t *testing.T) {
	tree := sample(t)
	if dir := os.Getenv("INITRD_TEST_DISK_FULL"); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		var old syscall.Rlimit
		must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
		limit := old
		fmt.Sscan(os.Getenv("INITRD_TEST_LIMIT"), &limit.Cur)
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
		defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)
		_, err := WriteFile(t.Context(), filepath.Join(dir, "img"), tree, Options{})
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v", err)
		}
		return
	}
	size := len(imageOf(t, tree, Options{}))
	for _, limit := range []int{0, 1, 100, size / 2, size - 1} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriteFileDiskFull$")
		cmd.Env = append(os.Environ(), "INITRD_TEST_DISK_FULL="+dir, fmt.Sprint("INITRD_TEST_LIMIT=", limit))
		if out, err := cmd.Output(); err != nil {
			t.Errorf("limit %d of %d: %v\n%s", limit, size, err, out)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("limit %d of %d: left behind: %v", limit, size, left)
		}
	}
}
