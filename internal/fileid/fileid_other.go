//go:build !linux && !darwin && !freebsd

package fileid

import "io/fs"

func system(fs.FileInfo) (ID, bool) { return ID{}, false }
