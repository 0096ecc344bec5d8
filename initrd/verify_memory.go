package initrd

import "fmt"

// The kernel unpacks into a tmpfs that takes at most half of the memory that is
// left beside the kernel and the image, and has one inode for every two pages of that
// (shmem_default_max_blocks and _inodes in mm/shmem.c). The image stays in
// memory until it is unpacked. With root= on its command line, and without
// rootfstype=tmpfs, the root is a ramfs that has no such bounds (init_rootfs in
// init/do_mounts.c), and goes on until there is no memory.
//
// What the kernel takes for itself was measured with Debian's 6.12.107 in machines of
// 128 MiB to 1 GiB: 67 to 69 MiB and a 64th of all.
const (
	kernelShare = 68 << 20
	kernelPart  = 64
)

// left is the memory beside the kernel and what has been read of the image.
func (v *verifier) left() int64 {
	m := v.kernel.Memory
	return max(0, m-kernelShare-m/kernelPart-v.r.raw.offset())
}

// memory reports the first file that finds no room.
func (v *verifier) memory(h *Header) {
	if v.kernel.Memory == 0 || v.full {
		return
	}
	left := v.left()
	var f Finding
	switch used := v.fs.pages * pageSize; {
	case used > left/2:
		f = v.at(h, RuleMemory, Memory, "finds no room: the files up to here take %s, the kernel gives them half of %s",
			mebibytes(used), mebibytes(left))
		f.Kernel = "write error"
	case v.fs.inodes > left/pageSize/2:
		f = v.at(h, RuleMemory, Memory, "finds no room: it is number %d, and of %s the kernel gives room for %d files",
			v.fs.inodes, mebibytes(left), left/pageSize/2)
	default:
		return
	}
	v.full = true
	f.Text += v.share()
	f.Hint = "a root= on the kernel's command line takes this bound away"
	v.find(f)
}

// windowFits reports a window for which there is no memory.
func (v *verifier) windowFits(at int64) {
	left := v.left()
	if v.kernel.Memory == 0 || v.full || v.window+v.fs.pages*pageSize <= left {
		return
	}
	v.full = true
	f := Finding{Rule: RuleMemory, Severity: Memory, Segment: len(v.r.segs) - 1, Offset: at,
		Text: fmt.Sprintf("decompressing takes %s, there are %s", mebibytes(v.window), mebibytes(left)) + v.share(),
		Hint: "compress with a smaller window"}
	if v.r.segment().Method == Zstd {
		f.Kernel = "Out of memory while allocating ZSTD_DStream"
		f.Hint += "; zstd needs to know the size beforehand for a window that is no larger: zstd FILE, or --stream-size"
	}
	v.find(f)
}

func (v *verifier) share() string {
	return fmt.Sprintf(" (of %s, when the kernel needs as much as Debian's for riscv64)", mebibytes(v.kernel.Memory))
}

// finish looks at the outcome.
func (v *verifier) finish(size int64) {
	r := v.report
	r.Segments, r.Size, r.Files = v.r.Segments(), size, v.fs.pages*pageSize
	for _, s := range r.Segments {
		r.Unpacked += s.Unpacked
	}
	r.Needed = size + max(v.peak, r.Files)
	if v.kernel.NoInitrd {
		return
	}
	v.inAll(size)
	v.initProgram()
	if c := v.fs.follow("/dev/console"); !v.kernel.BuiltIn && (c == nil || c.mode&typeMask != typeChar || c.rdevMajor != 5 || c.rdevMinor != 1) {
		v.find(Finding{Rule: RuleConsole, Severity: Note, Segment: -1, Text: "/dev/console is not the character device 5:1: init would have no output"})
	}
}

// inAll compares once more, now that the size of the image is known.
func (v *verifier) inAll(size int64) {
	m := v.kernel.Memory
	left := max(0, m-kernelShare-m/kernelPart-size)
	if m == 0 || v.full || v.report.Files <= left/2 && v.peak <= left {
		return
	}
	v.find(Finding{Rule: RuleMemory, Severity: Memory, Segment: -1,
		Text: fmt.Sprintf("unpacking takes %s beside the image of %s, there are %s, half of it for files", mebibytes(max(v.peak, v.report.Files)), mebibytes(size), mebibytes(left)) + v.share(),
		Hint: "a root= on the kernel's command line takes the bound of one half away"})
}

// initProgram looks for what the kernel starts.
func (v *verifier) initProgram() {
	text, hint := "", ""
	switch init := v.fs.follow("/init"); {
	case init == nil:
		text = "there is no /init: the kernel looks for a root file system instead"
		hint = "name another program with rdinit= on the kernel's command line"
	case init.mode&typeMask != typeRegular:
		text = "/init is no file: the kernel cannot start it"
	case init.mode&0o111 == 0:
		text = "/init may not be executed: the kernel cannot start it"
	case init.size == 0:
		text = "/init is empty: the kernel cannot start it"
	}
	if text != "" {
		v.find(Finding{Rule: RuleInit, Severity: Note, Segment: -1, Text: text, Hint: hint})
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
