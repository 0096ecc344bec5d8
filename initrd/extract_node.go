//go:build linux || freebsd

package initrd

import (
	"os"

	"golang.org/x/sys/unix"
)

// makeNode makes a named pipe or a device node, for its owner only at first.
func makeNode(dir *os.Root, base string, e *Entry) error {
	d, err := dir.Open(rootPath)
	if err != nil {
		return err
	}
	defer d.Close()
	return mknod(unix.Mknodat, int(d.Fd()), base, unixMode(e.Mode)&typeMask|0o600, unix.Mkdev(e.Major, e.Minor))
}

// mknod makes up for the systems' different opinions on device numbers.
func mknod[D int | uint64](call func(int, string, uint32, D) error, dir int, base string, mode uint32, dev uint64) error {
	return call(dir, base, mode, D(dev))
}
