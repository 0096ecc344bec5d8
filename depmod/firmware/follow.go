package firmware

import (
	"io/fs"
	"path"
	"strings"
)

// maxLinks is how many links one name may lead through; Linux has the same limit.
const maxLinks = 40

// homes are the places of the directory in a system, for links that are absolute.
var homes = []string{"/lib/firmware/", "/usr/lib/firmware/"}

// follow gives the file that a name leads to, with every link on the way before it.
// Nothing when there is none, with the reason if a link is to blame.
func (f *finder) follow(name string) (trail []File, why string) {
	rest, real := strings.Split(name, "/"), "."
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch {
		case part == "" || part == ".":
			continue
		case part == ".." && real == ".":
			return nil, "a link leads out of the firmware directory"
		case part == "..":
			real = path.Dir(real)
			continue
		}
		real = path.Join(real, part)
		info, err := fs.Lstat(f.dir, real)
		if err != nil {
			return nil, dangling(trail)
		}
		switch typ := info.Mode().Type(); {
		case typ == fs.ModeSymlink:
			target, err := fs.ReadLink(f.dir, real)
			if err != nil || len(trail) == maxLinks {
				return nil, "the link " + name + " cannot be followed"
			}
			trail = append(trail, File{real, target})
			below, ok := inside(target)
			if !ok {
				return nil, "the link " + real + " leads out of the firmware directory, to " + target
			}
			if path.IsAbs(target) {
				real = "."
			} else {
				real = path.Dir(real)
			}
			rest = append(strings.Split(below, "/"), rest...)
		case len(rest) == 0 && typ == 0:
			return append(trail, File{Path: real}), ""
		case typ != fs.ModeDir:
			return nil, ""
		}
	}
	return nil, ""
}

// inside gives the target of a link as a path below the directory, if it is absolute.
func inside(target string) (string, bool) {
	if !path.IsAbs(target) {
		return target, true
	}
	for _, home := range homes {
		if below, ok := strings.CutPrefix(target, home); ok {
			return below, true
		}
	}
	return "", false
}

func dangling(trail []File) string {
	if len(trail) == 0 {
		return ""
	}
	return "the link " + trail[0].Path + " leads to nothing, " + trail[len(trail)-1].Target
}
