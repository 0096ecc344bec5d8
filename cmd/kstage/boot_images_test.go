//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/boottest"
	"github.com/kstage/kstage/internal/kotest"
)

// packImage packs as a user without rights and returns the segments.
func packImage(t *testing.T, image string, args ...string) []segmentReport {
	t.Helper()
	cmd := unprivileged(t, append([]string{"pack", "--json", "-o", image}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	var report struct{ Segments []segmentReport }
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	return report.Segments
}

// write puts a file into dir.
func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// bootAll boots the image and wants every command of its init to succeed.
func bootAll(t *testing.T, image string) []boottest.Result {
	t.Helper()
	results := boottest.Results(t, boottest.Run(t, boottest.Machine{Initrd: image}))
	for _, r := range results {
		if r.Exit != 0 {
			t.Errorf("%s: exit %d\n%s", r.Command, r.Exit, r.Output)
		}
	}
	return results
}

// TestBootEveryCompression boots 12 MiB in several frames, packed in each way,
// and compares the files' sums. An archive appended to the image, as a boot
// loader may do, is unpacked too.
func TestBootEveryCompression(t *testing.T) {
	extra := openDir(t)
	write(t, extra, "etc/appended", []byte("appended"))
	appended := filepath.Join(openDir(t), "appended")
	packImage(t, appended, extra, "-c", "none")
	root := openDir(t)
	boottest.AddBusybox(t, root)
	boottest.AddInit(t, root, "busybox sha256sum -c /sums", "cat /etc/appended")
	rnd := rand.NewChaCha8([32]byte{1})
	var sums bytes.Buffer
	for i := range 12 {
		data := make([]byte, 1<<20+i)
		rnd.Read(data)
		name := fmt.Sprintf("/d/f%d", i)
		write(t, root, name, data)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
	}
	write(t, root, "sums", sums.Bytes())
	for _, tt := range []struct {
		compression string
		frames      int
	}{{"none", 0}, {"gzip", 3}, {"zstd", 3}, {"zstd:19", 3}, {"xz:1", 3}, {"lz4", 1}} {
		t.Run(tt.compression, func(t *testing.T) {
			image := filepath.Join(openDir(t), "image")
			got := packImage(t, image, root, "-c", tt.compression)
			for n := 0; tt.compression == "zstd" && got[0].Frames == tt.frames && n < 20; n++ {
				// until it takes an empty frame to fill up the image
				write(t, root, "tweak", make([]byte, n))
				got = packImage(t, image, root, "-c", tt.compression)
			}
			if n := len(got); n != 1 || got[0].Frames < tt.frames || tt.compression == "zstd" && got[0].Frames == tt.frames {
				t.Errorf("segments %+v", got)
			}
			both := readFile(t, image) + readFile(t, appended)
			if err := os.WriteFile(image, []byte(both), 0o644); err != nil {
				t.Fatal(err)
			}
			results := bootAll(t, image)
			if n := strings.Count(results[0].Output, ": OK\n"); n != 12 {
				t.Errorf("%d files are as they should be:\n%s", n, results[0].Output)
			}
		})
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestBootSegments boots what pack makes of modules that are compressed already:
// a plain segment and one in the kernel's best compression, as the kernel's own
// configuration tells; and the same behind an early segment, with aligned data.
func TestBootSegments(t *testing.T) {
	early := openDir(t)
	write(t, early, "early/note", []byte("found early\n"))
	for name, tt := range map[string]struct {
		args, methods []string
	}{
		"usual": {nil, []string{"none", "zstd"}},
		"early": {[]string{"--early", early, "--align", "4096", "-c", "gzip"}, []string{"none", "none", "gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := openDir(t)
			boottest.AddBusybox(t, root)
			release := boottest.AddModules(t, root, "ext4")
			write(t, root, "boot/config-"+release, []byte(readFile(t, filepath.Join(kotest.Lab(t), "config"))))
			commands := []string{"busybox modprobe ext4", "cat /proc/filesystems"}
			if name == "early" {
				commands = append(commands, "cat /early/note")
			}
			boottest.AddInit(t, root, commands...)
			image := filepath.Join(openDir(t), "image")
			segments := packImage(t, image, append(tt.args, root)...)
			var methods []string
			for _, s := range segments {
				methods = append(methods, s.Compression)
			}
			if fmt.Sprint(methods) != fmt.Sprint(tt.methods) {
				t.Errorf("segments %v, want %v", methods, tt.methods)
			}
			results := bootAll(t, image)
			if len(results) != len(commands) || !strings.Contains(results[1].Output, "\text4\n") {
				t.Errorf("%+v", results)
			}
		})
	}
}
