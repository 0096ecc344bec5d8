package main

import "golang.org/x/sys/unix"

// runningKernel is the release of the kernel that runs here.
func runningKernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
