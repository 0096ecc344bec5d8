//go:build !windows

package atomicfile

import (
	"path/filepath"

	"github.com/google/renameio/v2"
)

type pending = renameio.PendingFile

// create is given the directory so that renameio does not look for another
// one: only within one file system does rename replace in one step. The mode
// is left to the umask here, because renameio leaves its temporary file behind
// when it cannot set one.
func create(path string) (*pending, error) {
	return renameio.NewPendingFile(path,
		renameio.WithTempDir(filepath.Dir(path)),
		renameio.WithPermissions(0o666))
}
