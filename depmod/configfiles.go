package depmod

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
)

// ConfigPaths are the places of depmod.d, the first one ruling.
var ConfigPaths = []string{"etc/depmod.d", "run/depmod.d", "usr/local/lib/depmod.d", "usr/lib/depmod.d", "lib/depmod.d"}

// ReadConfig reads the configuration for a kernel version from paths below the
// root of fsys, as [ConfigFiles] finds it there.
func ReadConfig(fsys fs.FS, paths []string, version string) (Config, []Problem, error) {
	var c Config
	files, problems, err := ConfigFiles(fsys, paths)
	for _, f := range files {
		problems = append(problems, c.Parse(f.Path, f.Data, version)...)
	}
	return c, problems, err
}

// A ConfigFile is one file of depmod.d or modprobe.d.
type ConfigFile struct {
	Path string // from the root, with a slash in front
	Data []byte
}

// ConfigFiles reads the configuration files in paths below the root of fsys, each of
// them a file or a directory of *.conf files; missing ones are passed over. Of files
// with one base name the first counts; they come in the order of their base names.
func ConfigFiles(fsys fs.FS, paths []string) ([]ConfigFile, []Problem, error) {
	names := make(map[string]string) // by base name
	var problems []Problem
	for _, p := range paths {
		real, err := chroot.Resolve(fsys, p)
		if err != nil {
			continue
		}
		found, bad, err := configFiles(fsys, p, real)
		if err != nil {
			return nil, nil, err
		}
		problems = append(problems, bad...)
		for _, f := range found {
			if base := path.Base(f); names[base] == "" {
				names[base] = f
			}
		}
	}
	var files []ConfigFile
	for _, base := range slices.Sorted(maps.Keys(names)) {
		real, err := chroot.Resolve(fsys, names[base])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, problems, err
		}
		data, err := fs.ReadFile(fsys, real)
		if err != nil {
			return files, problems, err
		}
		files = append(files, ConfigFile{"/" + strings.TrimPrefix(names[base], "/"), data})
	}
	return files, problems, nil
}

// configFiles lists the files that one path stands for.
func configFiles(fsys fs.FS, name, real string) (files []string, problems []Problem, err error) {
	info, err := fs.Lstat(fsys, real)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil, nil
	}
	entries, err := fs.ReadDir(fsys, real)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		file := path.Join(name, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".") || len(e.Name()) <= len(".conf") || path.Ext(e.Name()) != ".conf":
		case e.IsDir():
			full := "/" + strings.TrimPrefix(file, "/")
			problems = append(problems, Problem{Rule: RuleConfig, Severity: Error, Path: full, Text: "is a directory, not a configuration file",
				kmod: "Directories inside directories are not supported: " + full})
		default:
			files = append(files, file)
		}
	}
	return files, problems, nil
}
