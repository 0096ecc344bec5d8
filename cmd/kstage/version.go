package main

import (
	"runtime"
	"runtime/debug"
)

// release is set by the release build: -ldflags "-X main.release=1.2.3".
var release string

// version is the release, else what the Go tool knows: the module's version or
// the commit.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	if commit, _ := commit(info); len(commit) >= 12 {
		return "devel-" + commit[:12]
	}
	return "devel"
}

// versionText is what --version tells: the commit and the release of Go too.
func versionText() string {
	text := version()
	if info, ok := debug.ReadBuildInfo(); ok {
		if commit, changed := commit(info); commit != "" {
			text += ", commit " + commit
			if changed {
				text += " with changes"
			}
		}
	}
	return text + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// commit tells what the program was built from, if the Go tool knew it.
func commit(info *debug.BuildInfo) (commit string, changed bool) {
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	return commit, changed
}
