package main

import (
	"fmt"
	"path/filepath"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// nameOutput gives the image its default name.
func (p *packer) nameOutput(m initrd.Method) error {
	name, err := imageName(p.sources.names[0], m)
	if err != nil {
		return err
	}
	p.output = p.format.output(name)
	return p.spares()
}

// spares refuses to write the image over what it is made from.
func (p *packer) spares() error {
	others := append([]string{p.early, p.firmware.dir}, p.otherFiles()...)
	if err := p.sources.spares(p.output, others...); err != nil || p.depfile == "" {
		return err
	}
	if filepath.Clean(p.depfile) == filepath.Clean(p.output) {
		return fmt.Errorf("--depfile and -o both name %s", p.output)
	}
	return p.sources.spares(p.depfile, append(others, p.output)...)
}

// imageName is the default name: that of the first source, then .cpio and the
// ending of the compression.
func imageName(source string, method initrd.Method) (string, error) {
	name := "initrd"
	if source != "-" {
		abs, err := filepath.Abs(source)
		if err != nil {
			return "", err
		}
		if base := filepath.Base(abs); base != string(filepath.Separator) {
			name = archiveEnding().ReplaceAllString(base, "")
		}
	}
	return name + ".cpio" + endings[method], nil
}

var endings = map[initrd.Method]string{initrd.Gzip: ".gz", initrd.Zstd: ".zst", initrd.XZ: ".xz", initrd.LZ4: ".lz4"}

// archiveEnding is what the name of a tar or an image has behind its own.
var archiveEnding = lazyregexp.New(`(\.(tar|cpio|img))?(\.(gz|zst|xz|lz4|lzma|bz2))?$|\.t[gx]z$`)
