//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// list prints what the image was unpacked to, below what is mounted over it, one
// line for each name but /, /proc and /sys, in the order of a walk:
//
//	"PATH" TYPE PERMISSIONS UID:GID NAMES MTIME [MAJOR:MINOR | "TARGET" | SIZE SUM]
//
// TYPE is as find(1) has it, SUM the beginning of the content's SHA-256. Of a path
// of more than 200 bytes there is the sum as well, and of a target. Exit 1 when
// something cannot be read.
func list(log logger, _ []string) int {
	const top = "/proc-list"
	if err := os.Mkdir(top, 0o700); err != nil {
		log.printf("%v", err)
		return 1
	}
	if err := unix.Mount("/", top, "", unix.MS_BIND, ""); err != nil {
		log.printf("bind /: %v", err)
		return 1
	}
	err := filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, top)
		if err != nil || name == "" || name == "/proc" || name == "/sys" || name == top {
			return err
		}
		return listOne(log, path, name[1:])
	})
	if err != nil {
		log.printf("list: %v", err)
		return 1
	}
	return 0
}

func listOne(log logger, path, name string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	line := fmt.Sprintf("%s %c %o %d:%d %d %d", short(name), "?pc?d?b?f?l?s???"[st.Mode>>12], st.Mode&0o7777, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		line += " " + short(target)
	case unix.S_IFREG:
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		line += fmt.Sprintf(" %d %.4x", len(data), sha256.Sum256(data))
	}
	log.printf("%s", line)
	return nil
}

func short(s string) string {
	if len(s) > 200 {
		s = fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
	}
	return fmt.Sprintf("%q", s)
}
