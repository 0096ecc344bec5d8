//go:build amd64 || arm64 || riscv64

package rootfs

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (h handle) getdents(room *dirRoom) (int, error) {
	if !h.local {
		return unix.Getdents(h.fd, room[:])
	}
	n, _, errno := unix.RawSyscall(unix.SYS_GETDENTS64, uintptr(h.fd), uintptr(unsafe.Pointer(room)), uintptr(len(room)))
	return int(n), result(errno)
}

func (h handle) fstatat(name string, stat *unix.Stat_t) error {
	if !h.local {
		return unix.Fstatat(h.fd, name, stat, unix.AT_SYMLINK_NOFOLLOW)
	}
	var c cName
	if err := c.set(name); err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_NEWFSTATAT, uintptr(h.fd), uintptr(unsafe.Pointer(&c)),
		uintptr(unsafe.Pointer(stat)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	return result(errno)
}

func (h handle) openat(name string) (int, error) {
	if !h.local {
		return unix.Openat(h.fd, name, openFlags, 0)
	}
	var c cName
	if err := c.set(name); err != nil {
		return -1, err
	}
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(h.fd), uintptr(unsafe.Pointer(&c)), openFlags, 0, 0, 0)
	return int(fd), result(errno)
}

func (h handle) close() error {
	if !h.local {
		return unix.Close(h.fd)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(h.fd), 0, 0)
	return result(errno)
}

func result(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// cName is a name as the kernel wants it, with a NUL at its end.
type cName [unix.NAME_MAX + 1]byte

func (c *cName) set(name string) error {
	switch {
	case strings.IndexByte(name, 0) >= 0:
		return unix.EINVAL
	case len(name) >= len(c):
		return unix.ENAMETOOLONG
	}
	copy(c[:], name)
	return nil
}
