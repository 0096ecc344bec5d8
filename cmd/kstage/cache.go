package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/atomicfile"
)

// cacheVariable names the directory of the caches instead of the user's own; "off"
// keeps none.
const cacheVariable = "KSTAGE_CACHE"

// moduleCache is the cache of the modules of one kernel version. It only ever saves
// time: whatever goes wrong with it, the modules are read.
type moduleCache struct {
	path  string // empty: there is none
	facts *depmod.Cache
}

func cacheFlag(flags *pflag.FlagSet, off *bool) {
	flags.BoolVar(off, "no-cache", false, "read every module anew, and remember nothing for the next run")
}

// scan is depmod.Scan with what earlier runs remember, unless that is not wanted.
func scan(ctx context.Context, root fs.FS, dir string, o depmod.Options, noCache bool) (*depmod.Tree, error) {
	cache := newModuleCache(dir, noCache)
	o.Cache = cache.facts
	tree, err := depmod.Scan(ctx, root, dir, o)
	if err == nil {
		cache.save()
	}
	return tree, err
}

// newModuleCache opens the cache for a module directory if one is wanted.
func newModuleCache(dir string, off bool) *moduleCache {
	if off {
		return &moduleCache{}
	}
	return openModuleCache(path.Base(dir))
}

// hasMade tells whether a part of the index in dir was made from the same.
func (c *moduleCache) hasMade(part depmod.Part, from depmod.Sum, dir string) bool {
	want, known := c.facts.Made(from)
	if !known {
		return false
	}
	var there indexSums
	return there.read(dir, part) == nil && there.sum(part) == want
}

// openModuleCache opens the cache for a kernel version. Trees of the same version
// share it: modules are told apart by what they hold.
func openModuleCache(version string) *moduleCache {
	dir := os.Getenv(cacheVariable)
	if dir == "off" {
		return &moduleCache{}
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return &moduleCache{}
		}
		dir = filepath.Join(user, "kstage")
	}
	file := filepath.Join(dir, "modules-"+version)
	open := func() (fs.File, error) { return os.Open(file) }
	return &moduleCache{path: file, facts: depmod.LoadCache(open, thisProgram())}
}

// save writes the cache for the next run, if there is anything new in it.
func (c *moduleCache) save() {
	if c.path == "" {
		return
	}
	defer c.facts.Close()
	if !c.facts.Changed() {
		return
	}
	if os.MkdirAll(filepath.Dir(c.path), 0o700) != nil {
		return
	}
	_ = atomicfile.Write(c.path, 0o600, func(f *os.File) error {
		_, err := c.facts.WriteTo(f)
		return err
	})
}

// thisProgram tells builds apart, also those of a working tree that is being changed.
func thisProgram() string {
	name := version()
	if info, ok := debug.ReadBuildInfo(); ok {
		name += " " + info.GoVersion
	}
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			name += fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
		}
	}
	return name
}
