package rootfs

import "golang.org/x/sys/unix"

// A handle is the number of an open directory.
//
// Go's scheduler wants to know of each system call, as it may take long; to a listing of
// some thousand files that adds a tenth of its time. So these calls go directly
// to the kernel where they are short, which is on a local file system: elsewhere a server
// that does not answer would stop the whole program, and Ctrl-C with it.
type handle struct {
	fd    int
	local bool
}

// isLocal tells whether a file is on a file system that asks nobody else.
func isLocal(fd int) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(fd, &stat) != nil {
		return false
	}
	switch uint32(stat.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.BCACHEFS_SUPER_MAGIC,
		unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return true
	}
	return false
}

// list is getdents64(2).
func (h handle) list(room *dirRoom) (n int, err error) {
	err = again(func() error {
		n, err = h.getdents(room)
		return err
	})
	return n, err
}

// stat is fstatat(2), which does not follow links.
func (h handle) stat(name string, stat *unix.Stat_t) error {
	return again(func() error { return h.fstatat(name, stat) })
}

// open is openat(2) of a directory that is no link.
func (h handle) open(name string) (handle, error) {
	below := handle{local: h.local}
	err := again(func() (err error) {
		below.fd, err = h.openat(name)
		return err
	})
	return below, err
}

// again repeats what a signal interrupts.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

const openFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
