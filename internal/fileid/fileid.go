// Package fileid tells whether a file is still the one that was looked at before.
package fileid

import "io/fs"

// An ID names a file and its state. As long as it is the same, the content is, but
// for what [ID.Settled] says.
type ID struct {
	Device, Inode uint64
	Size          int64 // in bytes
	Modified      int64 // nanoseconds since 1970
	Changed       int64 // of the inode, which no program can set
}

// granularity is the coarsest clock of a file system, in nanoseconds: FAT counts in
// two seconds.
const granularity = 2e9

// Of gives the ID of what a file system has described. It has none when the file
// system is not the host's, or the host does not number its files. A description may
// have a method FileID that tells it.
func Of(info fs.FileInfo) (ID, bool) {
	if !info.Mode().IsRegular() {
		return ID{}, false
	}
	if known, ok := info.(interface{ FileID() ID }); ok {
		return known.FileID(), true
	}
	return system(info)
}

// Settled tells whether a file that was read at a time, in nanoseconds since 1970, had
// been left alone before for so long that any later change has another ID.
func (id ID) Settled(read int64) bool {
	return max(id.Modified, id.Changed) < read-granularity
}
