package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// buildImages are where a build directory has the kernel, the best first.
var buildImages = []string{"vmlinux", "arch/riscv/boot/Image", "arch/arm64/boot/Image", "arch/x86/boot/bzImage", "arch/loongarch/boot/vmlinux.efi"}

// AddBuildDir puts in what a directory tells in which a kernel was built, or the
// headers package of a distribution: image, configuration, Module.symvers, System.map
// and release. name is that of the directory. Files that are missing are left out; it
// is an error when all are.
func (f *Facts) AddBuildDir(dir fs.FS, name string) error {
	name = strings.TrimSuffix(name, "/")
	found, err := f.addBuiltImage(dir, name)
	if err != nil {
		return err
	}
	parts := []struct {
		file string
		add  func(r io.Reader, file string) error
	}{
		{".config", func(r io.Reader, file string) error {
			c, err := ParseConfig(r)
			if err == nil {
				f.AddConfig(c, file)
			}
			return err
		}},
		{"Module.symvers", f.AddSymvers},
		{"System.map", f.AddSystemMap},
		{"include/config/kernel.release", func(r io.Reader, _ string) error {
			b, err := io.ReadAll(io.LimitReader(r, maxRelease+1))
			if err == nil {
				f.AddRelease(strings.TrimSpace(string(b)))
			}
			return err
		}},
	}
	for _, part := range parts {
		r, err := dir.Open(part.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = part.add(r, name+"/"+part.file)
			err = errors.Join(err, r.Close())
		}
		if err != nil {
			return fmt.Errorf("%s/%s: %w", name, part.file, err)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("%s: no kernel was built here: there is no .config, Module.symvers, System.map or vmlinux", name)
	}
	return nil
}

// addBuiltImage adds the first image that there is. Debian's headers have a vmlinux
// with nothing but debug data in it, which is left out.
func (f *Facts) addBuiltImage(dir fs.FS, name string) (found bool, err error) {
	for _, path := range buildImages {
		r, err := dir.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%s/%s: %w", name, path, err)
		}
		m, err := readImageFile(r)
		err = errors.Join(err, r.Close())
		if errors.Is(err, errNothingLoaded) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%s/%s: %w", name, path, err)
		}
		f.AddImage(m, name+"/"+path)
		return true, nil
	}
	return false, nil
}

// readImageFile reads an image from a file system's file, which may not be an [io.ReaderAt].
func readImageFile(file fs.File) (*Image, error) {
	if r, ok := file.(io.ReaderAt); ok {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		return ReadImage(r, info.Size())
	}
	data, err := readAll(file, maxImage)
	if err != nil {
		return nil, err
	}
	return ReadImage(bytes.NewReader(data), int64(len(data)))
}
