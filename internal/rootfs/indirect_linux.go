//go:build !(amd64 || arm64 || riscv64)

package rootfs

import "golang.org/x/sys/unix"

func (h handle) getdents(room *dirRoom) (int, error) { return unix.Getdents(h.fd, room[:]) }

func (h handle) fstatat(name string, stat *unix.Stat_t) error {
	return unix.Fstatat(h.fd, name, stat, unix.AT_SYMLINK_NOFOLLOW)
}

func (h handle) openat(name string) (int, error) { return unix.Openat(h.fd, name, openFlags, 0) }
func (h handle) close() error                    { return unix.Close(h.fd) }
