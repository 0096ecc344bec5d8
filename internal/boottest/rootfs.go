package boottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// AddInit puts the program of boottest/init into dir as /init, and the commands
// as its /etc/boottest. That program's comment says what a command can be.
func AddInit(t testing.TB, dir string, commands ...string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "init"),
		"github.com/kstage/kstage/internal/boottest/init")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=riscv64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	writeFile(t, filepath.Join(dir, "etc", "boottest"), []byte(strings.Join(commands, "\n")+"\n"), 0o644)
}

// AddBusybox puts the lab's static busybox into dir as /bin/busybox. Its
// modprobe reads the text indexes: modules.dep, modules.alias, modules.symbols.
func AddBusybox(t testing.TB, dir string) {
	t.Helper()
	copyFile(t, filepath.Join(kotest.Lab(t), "busybox"), filepath.Join(dir, "bin", "busybox"))
}

// AddKmod puts the lab's kmod into dir, with the libraries it needs, as
// /sbin/modprobe, /sbin/rmmod and /sbin/lsmod. Its modprobe reads the binary
// indexes: modules.dep.bin and its like.
func AddKmod(t testing.TB, dir string) {
	t.Helper()
	from := filepath.Join(kotest.Lab(t), "kmod-rv64", "usr")
	copyFile(t, filepath.Join(from, "bin", "kmod"), filepath.Join(dir, "bin", "kmod"))
	const loader = "ld-linux-riscv64-lp64d.so.1"
	const libs = "riscv64-linux-gnu"
	copyFile(t, filepath.Join(from, "lib", loader), filepath.Join(dir, "lib", loader))
	// liblzma and libzstd are opened at run time, for modules compressed that way.
	for _, lib := range [...]string{"libc.so.6", "libcrypto.so.3", "libz.so.1", "liblzma.so.5", "libzstd.so.1"} {
		copyFile(t, filepath.Join(from, "lib", libs, lib), filepath.Join(dir, "lib", libs, lib))
	}
	if err := os.MkdirAll(filepath.Join(dir, "sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range [...]string{"modprobe", "rmmod", "lsmod"} {
		if err := os.Symlink("../bin/kmod", filepath.Join(dir, "sbin", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// Pack makes an image of dir with GNU cpio and returns its path.
func Pack(t testing.TB, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image.cpio")
	cpio := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc > "$0"`, image)
	cpio.Dir = dir
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	return image
}

// copyFile copies what is at from, through links, and its permission bits.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, data, info.Mode().Perm())
}

func writeFile(t testing.TB, to string, data []byte, perm os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, perm); err != nil {
		t.Fatal(err)
	}
}
