package preflight

import "fmt"

// An Errno is what a system call of Linux returns, whatever system this runs on.
type Errno uint16

// Those that the module loader returns.
const (
	EPERM        Errno = 1
	ENOENT       Errno = 2
	ENOEXEC      Errno = 8
	ENOMEM       Errno = 12
	EBUSY        Errno = 16
	EEXIST       Errno = 17
	EINVAL       Errno = 22
	EBADMSG      Errno = 74
	EOPNOTSUPP   Errno = 95
	EKEYREJECTED Errno = 129
)

// String gives the name: ENOEXEC.
func (e Errno) String() string {
	switch e {
	case 0:
		return "0"
	case EPERM:
		return "EPERM"
	case ENOENT:
		return "ENOENT"
	case ENOEXEC:
		return "ENOEXEC"
	case ENOMEM:
		return "ENOMEM"
	case EBUSY:
		return "EBUSY"
	case EEXIST:
		return "EEXIST"
	case EINVAL:
		return "EINVAL"
	case EBADMSG:
		return "EBADMSG"
	case EOPNOTSUPP:
		return "EOPNOTSUPP"
	case EKEYREJECTED:
		return "EKEYREJECTED"
	}
	return fmt.Sprintf("errno %d", uint16(e))
}
