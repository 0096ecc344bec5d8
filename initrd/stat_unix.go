//go:build unix

package initrd

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// statOf reads what fs.FileInfo has no methods for. The width and sign of the
// fields differ between systems.
func statOf(fi fs.FileInfo) (stat, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{}, false
	}
	rdev := uint64(st.Rdev)
	return stat{
		id:    fileID{dev: uint64(st.Dev), ino: uint64(st.Ino)},
		links: uint64(st.Nlink),
		uid:   st.Uid,
		gid:   st.Gid,
		major: unix.Major(rdev),
		minor: unix.Minor(rdev),
	}, true
}
