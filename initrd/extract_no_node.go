//go:build !linux && !freebsd

package initrd

import (
	"errors"
	"os"
)

// makeNode says that neither named pipes nor devices can be made in an opened
// directory on this system.
func makeNode(*os.Root, string, *Entry) error { return errors.ErrUnsupported }
