package initrd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/kstage/kstage/initrd"
)

// An image from a directory, with a generated file laid over it.
func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "initrd")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	must(os.MkdirAll(filepath.Join(dir, "root/etc"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "root/init"), []byte("#!/bin/sh\n"), 0o755))

	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()

	var tree initrd.Tree
	if _, err := tree.AddFS(root.FS()); err != nil {
		log.Fatal(err)
	}
	must(tree.Put(initrd.File("etc/hostname", 0o644, []byte("board\n"))))
	must(tree.AddBootDevices())

	zstd, err := initrd.ParseCompression("zstd:19")
	if err != nil {
		log.Fatal(err)
	}
	image := filepath.Join(dir, "initrd.img")
	sum, err := initrd.WriteFile(context.Background(), image, &tree, initrd.Options{Compression: zstd})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.Entries, "entries,", sum.Raw, "bytes before compression")
	// Output: 7 entries, 972 bytes before compression
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Any file system will do, and any writer.
func ExampleWrite() {
	var tree initrd.Tree
	if _, err := tree.AddFS(fstest.MapFS{"init": {Mode: 0o755, Data: []byte("#!/bin/sh\n")}}); err != nil {
		log.Fatal(err)
	}
	var image bytes.Buffer
	if _, err := initrd.Write(context.Background(), &image, &tree, initrd.Options{ModTime: 1700000000}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", image.Bytes()[:6])
	// Output: 070701
}

// Later entries lie over earlier ones, and directories come by themselves.
func ExampleTree_Put() {
	var tree initrd.Tree
	must(tree.Put(initrd.File("usr/bin/env", 0o755, []byte("first"))))
	must(tree.Put(initrd.Entry{Path: "usr/bin/env", Mode: fs.ModeSymlink, Target: "busybox"}))
	for e := range tree.All() {
		fmt.Println(e.Mode, e.Path)
	}
	// Output:
	// drwxr-xr-x .
	// drwxr-xr-x usr
	// drwxr-xr-x usr/bin
	// L--------- usr/bin/env
}

func ExampleParseCompression() {
	for _, s := range []string{"none", "gzip:9", "zstd", "zstd:30"} {
		c, err := initrd.ParseCompression(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c)
	}
	// Output:
	// none
	// gzip:9
	// zstd
	// compression: zstd has levels 1 to 22, not 30
}

// Of an entry whose directory is missing the kernel says nothing.
func ExampleVerify() {
	var image bytes.Buffer
	tree := new(initrd.Tree)
	if err := tree.Put(initrd.File("init", 0o755, []byte("#!/bin/sh\n"))); err != nil {
		log.Fatal(err)
	}
	if _, err := initrd.Write(context.Background(), &image, tree, initrd.Options{}); err != nil {
		log.Fatal(err)
	}
	damaged := bytes.Replace(image.Bytes(), []byte("init\x00"), []byte("a/it\x00"), 1)
	report, err := initrd.Verify(bytes.NewReader(damaged), initrd.Kernel{Methods: []initrd.Method{initrd.Gzip}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("whole:", report.Whole())
	for _, f := range report.Findings {
		fmt.Printf("%v: %v\n", f.Severity, &f)
	}
	// Output:
	// whole: false
	// drops: a/it: is left out: the directory above it is missing (offset 112)
	// note: there is no /init: the kernel looks for a root file system instead
}

// A tar of a container's root file system becomes an image. Contents wait in a
// temporary file.
func ExampleTree_AddArchive() {
	spool, err := os.CreateTemp("", "spool")
	must(err)
	defer os.Remove(spool.Name())
	defer spool.Close()

	var archive bytes.Buffer // such as docker export writes
	w := tar.NewWriter(&archive)
	must(w.WriteHeader(&tar.Header{Name: "bin/su", Mode: 0o4755, Uid: 0, Size: 2}))
	_, err = w.Write([]byte("su"))
	must(err)
	must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: "dev/tty", Mode: 0o666, Gid: 5, Devmajor: 5}))
	must(w.Close())

	var tree initrd.Tree
	problems, err := tree.AddArchive(&archive, spool)
	must(err)
	for e := range tree.All() {
		fmt.Println(e.Mode, e.GID, e.Path)
	}
	fmt.Println(len(problems), "problems")
	// Output:
	// drwxr-xr-x 0 .
	// drwxr-xr-x 0 bin
	// urwxr-xr-x 0 bin/su
	// drwxr-xr-x 0 dev
	// Dcrw-rw-rw- 5 dev/tty
	// 0 problems
}
