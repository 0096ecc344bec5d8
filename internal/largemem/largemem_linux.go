package largemem

import "golang.org/x/sys/unix"

// hugePage is the size of a huge page on amd64, arm64 and riscv64 with pages of 4 KiB.
const hugePage = 2 << 20

// huge gives memory in huge pages, nil for what would not fill a quarter of one.
func huge(n int) []byte {
	if n < hugePage/4 {
		return nil
	}
	whole := (n + hugePage - 1) &^ (hugePage - 1) // Linux 6.7 and later align it, too
	b, err := unix.Mmap(-1, 0, whole, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a kernel without them has small pages
	return b[:n]
}
