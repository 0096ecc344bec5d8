//go:build unix

package initrd

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// linkTime sets the time of a symbolic link, where the file system keeps one.
func linkTime(dir *os.Root, base string, t time.Time) error {
	d, err := dir.Open(rootPath)
	if err != nil {
		return err
	}
	defer d.Close()
	spec := unix.NsecToTimespec(t.UnixNano())
	err = unix.UtimesNanoAt(int(d.Fd()), base, []unix.Timespec{spec, spec}, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
