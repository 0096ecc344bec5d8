// Package firmware finds the files that kernel modules ask for in a directory laid out
// as /lib/firmware.
//
// [Names] gives what the modules of a tree name in their .modinfo; [Find] looks for it
// where the kernel's firmware loader does (drivers/base/firmware_loader/main.c), and
// tells every file and link that must be there for it to be found.
package firmware

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
)

// A Name is a firmware file that modules name, as seen from /lib/firmware. Drivers that
// make the name up when they run give a pattern: brcm/brcmfmac*-sdio.*.bin.
type Name struct {
	Name    string
	Modules []*depmod.Module // that name it, in the order of the tree
}

// Names gives the firmware that modules name, each file once, sorted.
func Names(modules []*depmod.Module) []Name {
	by := make(map[string][]*depmod.Module)
	for _, m := range modules {
		if m.Info == nil {
			continue
		}
		for name := range m.Info.All("firmware") {
			if known := by[name]; len(known) == 0 || known[len(known)-1] != m {
				by[name] = append(known, m)
			}
		}
	}
	var names []Name
	for _, name := range slices.Sorted(maps.Keys(by)) {
		names = append(names, Name{name, by[name]})
	}
	return names
}

// A Set is what [Find] has found.
type Set struct {
	Files   []File // sorted by path, each once
	Missing []Missing
}

// A File is a file that firmware is read from, or a link that leads to one.
type File struct {
	Path   string // as seen from /lib/firmware
	Target string // where a link leads; "" for a file
}

// A Missing is firmware that is not there.
type Missing struct {
	Name Name
	Why  string // if something is there, why it does not count
}

// packings are the endings that the loader tries, a plain file first. It does so in all
// directories before it tries the next (_request_firmware).
var packings = []string{"", ".zst", ".xz"}

// A Loader is the firmware loader of a kernel.
type Loader struct {
	Version string // of the kernel; "" leaves out the directories for one version
	// NoXZ and NoZstd tell that it was built without FW_LOADER_COMPRESS_XZ or _ZSTD,
	// and passes files of that packing over.
	NoXZ, NoZstd bool
}

// Find is [Loader.Find] for a kernel that unpacks all that there is.
func Find(dir fs.FS, version string, names []Name) Set {
	return Loader{Version: version}.Find(dir, names)
}

// Find looks in dir, which stands for /lib/firmware, for what modules name. Where the
// kernel would find several files for a name, only the one that it would take is in the
// set; of a pattern all names that match are.
func (l Loader) Find(dir fs.FS, names []Name) Set {
	f := finder{dir: dir, files: make(map[string]File),
		places: []string{path.Join("updates", l.Version), "updates", path.Join(".", l.Version), "."}}
	for _, packing := range packings {
		if packing == ".xz" && l.NoXZ || packing == ".zst" && l.NoZstd {
			continue
		}
		f.packings = append(f.packings, packing)
	}
	var set Set
	for _, name := range names {
		if found, why := f.find(name.Name); !found {
			set.Missing = append(set.Missing, Missing{name, why})
		}
	}
	set.Files = slices.SortedFunc(maps.Values(f.files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return set
}

type finder struct {
	dir      fs.FS
	places   []string // where the kernel looks, in its order
	packings []string // that it can unpack, likewise
	files    map[string]File
}

func (f *finder) find(name string) (found bool, why string) {
	if !fs.ValidPath(name) || name == "." {
		return false, "its name is no path below /lib/firmware"
	}
	if found, why = f.take(name); found || !strings.ContainsAny(name, "*?[") {
		return found, why
	}
	matches, err := f.matches(name)
	if err != nil {
		return false, "its name is no pattern"
	}
	for _, match := range matches {
		ok, reason := f.take(match)
		found, why = found || ok, cmp.Or(why, reason)
	}
	return found, why
}

// matches gives the names, without the endings of packings, that a pattern stands for. A
// star matches no slash.
func (f *finder) matches(pattern string) ([]string, error) {
	names := make(map[string]bool)
	for _, place := range f.places {
		for _, packing := range f.packings {
			files, err := fs.Glob(f.dir, path.Join(place, pattern)+packing)
			if err != nil {
				return nil, err
			}
			for _, file := range files {
				if place != "." {
					file = strings.TrimPrefix(file, place+"/")
				}
				names[strings.TrimSuffix(file, packing)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// take adds the file that the kernel would take for a name.
func (f *finder) take(name string) (found bool, why string) {
	for _, packing := range f.packings {
		for _, place := range f.places {
			trail, reason := f.follow(path.Join(place, name) + packing)
			why = cmp.Or(why, reason)
			if trail == nil {
				continue
			}
			for _, file := range trail {
				f.files[file.Path] = file
			}
			return true, ""
		}
	}
	return false, why
}
