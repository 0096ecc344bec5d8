package preflight

import "fmt"

// An Errno is what a system call of Linux returns, whatever system this runs on.
type Errno uint16

// Those that the module loader returns.
const (
	EPERM        Errno = 1
	ENOENT       Errno = 2
	ESRCH        Errno = 3
	ENOEXEC      Errno = 8
	ENOMEM       Errno = 12
	EBUSY        Errno = 16
	EEXIST       Errno = 17
	ENODEV       Errno = 19
	EINVAL       Errno = 22
	EBADMSG      Errno = 74
	EOPNOTSUPP   Errno = 95
	ENOKEY       Errno = 126
	EKEYREJECTED Errno = 129
)

// errnos are the names, and what tools print for them.
var errnos = map[Errno][2]string{
	EPERM: {"EPERM", "Operation not permitted"}, ENOENT: {"ENOENT", "No such file or directory"},
	ESRCH: {"ESRCH", "No such process"}, ENOEXEC: {"ENOEXEC", "Exec format error"}, ENOMEM: {"ENOMEM", "Cannot allocate memory"},
	EBUSY: {"EBUSY", "Device or resource busy"}, EEXIST: {"EEXIST", "File exists"}, ENODEV: {"ENODEV", "No such device"},
	EINVAL: {"EINVAL", "Invalid argument"}, EBADMSG: {"EBADMSG", "Bad message"}, EOPNOTSUPP: {"EOPNOTSUPP", "Operation not supported"},
	ENOKEY: {"ENOKEY", "Required key not available"}, EKEYREJECTED: {"EKEYREJECTED", "Key was rejected by service"},
}

// String gives the name: ENOEXEC.
func (e Errno) String() string {
	if e == 0 {
		return "0"
	}
	if known, ok := errnos[e]; ok {
		return known[0]
	}
	return fmt.Sprintf("errno %d", uint16(e))
}

// Text gives what tools print for it: "Exec format error"; empty when unknown.
func (e Errno) Text() string { return errnos[e][1] }
