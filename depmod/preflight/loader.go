package preflight

import (
	"fmt"

	"github.com/kstage/kstage/modinfo/kernel"
)

// A loader is what differs between the loaders of kernels.
type loader struct {
	era era
	// silent: faults of the ELF header are not named in the log.
	silent bool
	// from tells what era and silent rest on, Unknown for the newest loader known.
	from kernel.Source
}

// An era is a form of kernel/module/main.c.
type era uint8

const (
	// eraThisModule: .gnu.linkonce.this_module is looked for as one of many sections.
	eraThisModule era = iota
	// eraSize (6.4): its size must be that of struct module.
	eraSize
	// eraCache (6.13, and stable releases of 6.12): what is looked at first changed,
	// and types and names of sections are checked.
	eraCache
)

// loaderOf tells which loader a kernel has: by its messages, else by its release.
func loaderOf(f *kernel.Facts) loader {
	if said, known := f.Says(kernel.SaysNoModule); known {
		l := loader{era: eraSize, from: kernel.FromImage}
		exactly, _ := f.Says(kernel.SaysExactlyOneModule)
		named, _ := f.Says(kernel.SaysHeaderLen)
		l.silent = !named
		switch {
		case said:
			l.era = eraThisModule
		case exactly:
			l.era = eraCache
		}
		return l
	}
	major, minor, known := release(f)
	l := loader{era: eraCache, from: kernel.FromRelease}
	switch v := major<<16 | minor; {
	case !known:
		l.from = kernel.Unknown
	case v < 6<<16|4:
		l.era, l.silent = eraThisModule, v < 5<<16|19
	case v < 6<<16|13:
		l.era = eraSize
	}
	return l
}

// release gives the numbers that a kernel's release begins with.
func release(f *kernel.Facts) (major, minor int, known bool) {
	n, _ := fmt.Sscanf(f.Release.Value, "%d.%d", &major, &minor)
	return major, minor, n == 2 && major < 1<<8 && minor < 1<<16
}
