package main

import (
	"fmt"
	"os"
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
	c := &moduleCache{path: filepath.Join(dir, "modules-"+version)}
	program := thisProgram()
	data, err := os.ReadFile(c.path)
	if err != nil {
		c.facts = depmod.NewCache(program)
	} else {
		c.facts = depmod.ReadCache(data, program)
	}
	return c
}

// save writes the cache for the next run, if there is anything new in it.
func (c *moduleCache) save() {
	if c.path == "" || !c.facts.Changed() {
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
