//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// verbs are the commands that need no program in the image.
var verbs = map[string]func(logger, []string) int{
	"cat":                 cat,
	"ls":                  ls,
	"list":                list,
	"wait-for":            waitFor,
	"insmod":              insmod,
	"rmmod":               rmmod,
	"modprobe-bymodalias": modprobeByModalias,
}

// cat FILE... prints files; exit 1 when one cannot be read.
func cat(log logger, args []string) int {
	exit := 0
	for _, name := range args {
		f, err := os.Open(name)
		if err != nil {
			log.printf("%v", err)
			exit = 1
			continue
		}
		log.copy(f)
		_ = f.Close()
	}
	return exit
}

// ls DIR... prints the names in each directory, one a line, sorted; exit 1 when
// one cannot be read.
func ls(log logger, args []string) int {
	exit := 0
	for _, name := range args {
		entries, err := os.ReadDir(name)
		if err != nil {
			log.printf("%v", err)
			exit = 1
		}
		for _, e := range entries {
			log.printf("%s", e.Name())
		}
	}
	return exit
}

// wait-for PATH [SECONDS] waits until the path exists, ten seconds unless told;
// exit 1 when it does not appear.
func waitFor(log logger, args []string) int {
	if len(args) == 0 {
		return usage(log, "wait-for PATH [SECONDS]")
	}
	seconds := 10
	if len(args) > 1 {
		seconds, _ = strconv.Atoi(args[1])
	}
	deadline := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		if _, err := os.Lstat(args[0]); err == nil {
			return 0
		}
		if time.Now().After(deadline) {
			return 1
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// insmod FILE [FLAGS [PARAMETER...]] hands the file to finit_module(2) as it
// is. FLAGS is its number: 1 ignores symbol versions, 2 the vermagic, 4 says
// that the file is compressed. Exit is the errno, 0 when the module is loaded.
func insmod(log logger, args []string) int {
	if len(args) == 0 {
		return usage(log, "insmod FILE [FLAGS [PARAMETER...]]")
	}
	flags, params := 0, ""
	if len(args) > 1 {
		flags, _ = strconv.Atoi(args[1])
		params = strings.Join(args[2:], " ")
	}
	f, err := os.Open(args[0])
	if err == nil {
		err = unix.FinitModule(int(f.Fd()), params, flags)
		_ = f.Close()
	}
	if err == nil {
		return 0
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	log.printf("insmod %s: errno %d: %v", args[0], errno, err)
	return int(errno)
}

// rmmod NAME takes a module out of the kernel. Exit is the errno.
func rmmod(log logger, args []string) int {
	if len(args) != 1 {
		return usage(log, "rmmod NAME")
	}
	errno, _ := errors.AsType[syscall.Errno](unix.DeleteModule(args[0], unix.O_NONBLOCK))
	return int(errno)
}

// modprobe-bymodalias PROGRAM [ARGUMENT...] runs the program once with each
// modalias found below /sys/devices, and again for those that appear after it,
// as a hot-plug daemon would: a driver for a bus brings the devices on it. It
// prints the aliases for which the program succeeded; exit 1 if there are none.
func modprobeByModalias(log logger, args []string) int {
	if len(args) == 0 {
		return usage(log, "modprobe-bymodalias PROGRAM [ARGUMENT...]")
	}
	tried := map[string]bool{}
	exit := 1
	for {
		fresh := modaliases(tried)
		if len(fresh) == 0 {
			return exit
		}
		for _, alias := range fresh {
			if start(log, append(args[:len(args):len(args)], alias)) == 0 {
				log.printf("%s", alias)
				exit = 0
			}
		}
	}
}

// modaliases returns those below /sys/devices that are not in tried, and puts
// them in. A device that vanishes under the walk is passed over.
func modaliases(tried map[string]bool) []string {
	var fresh []string
	_ = filepath.WalkDir("/sys/devices", func(path string, _ fs.DirEntry, _ error) error {
		if filepath.Base(path) != "modalias" {
			return nil
		}
		text, _ := os.ReadFile(path)
		alias := strings.TrimSpace(string(text))
		if alias != "" && !tried[alias] {
			tried[alias] = true
			fresh = append(fresh, alias)
		}
		return nil
	})
	return fresh
}

func usage(log logger, text string) int {
	log.printf("usage: %s", text)
	return 2
}
