package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"iter"
	"strings"
)

const (
	banner = "Linux version "
	// maxBanner is more than linux_banner can have: names, compiler and linker.
	maxBanner = 1024
	// maxRelease is what struct utsname has room for.
	maxRelease = 64
	// maxVermagic is the most bytes of a version magic. Debian's have 60.
	maxVermagic = 256
)

// findRelease finds the release in the text that the kernel says first (linux_banner
// in init/version-timestamp.c). A copy that is made before the build is numbered
// ends in "# ..."; the one with a number is preferred.
//
//	Linux version RELEASE (NAME@HOST) (COMPILER) #1 SMP ...
func findRelease(data []byte) string {
	found := ""
	for text := range stringsWith(data, banner, maxBanner, false) {
		release, rest, ok := bytes.Cut(text[len(banner):], []byte(" ("))
		_, build, numbered := bytes.Cut(rest, []byte(" #"))
		if !ok || !numbered || !isRelease(release) {
			continue
		}
		if len(build) > 0 && build[0] >= '0' && build[0] <= '9' {
			return string(release)
		}
		if found == "" {
			found = string(release)
		}
	}
	return found
}

func isRelease(s []byte) bool {
	return len(s) > 0 && len(s) <= maxRelease && s[0] >= '0' && s[0] <= '9' && !bytes.ContainsAny(s, " \t\n%")
}

// stringsWith gives the texts that begin with a prefix, up to the NUL behind, which
// must come within limit bytes. When whole is set, there is a NUL before as well.
func stringsWith(data []byte, prefix string, limit int, whole bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for at := 0; ; at += len(prefix) {
			i := bytes.Index(data[at:], []byte(prefix))
			if i < 0 {
				return
			}
			at += i
			end := bytes.IndexByte(data[at:min(at+limit, len(data))], 0)
			begins := !whole || at > 0 && data[at-1] == 0
			if end >= 0 && begins && !yield(data[at:at+end]) {
				return
			}
		}
	}
}

// findVermagic finds the version magic of a release, a string of its own
// (VERMAGIC_STRING in include/linux/vermagic.h).
func findVermagic(data []byte, release string) string {
	if release == "" {
		return ""
	}
	for text := range stringsWith(data, release+" ", maxVermagic, true) {
		if !bytes.ContainsFunc(text, func(r rune) bool { return !isMagic(r) }) {
			return string(text)
		}
	}
	return ""
}

// isMagic tells whether a character may be in a version magic. There are no
// parentheses, as in other texts that begin with the release.
func isMagic(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" .+-_~", r)
}

// optionsByMessages tells options by the messages that the loader has or has not.
func optionsByMessages(says map[string]bool, machine elf.Machine, file string) map[string]Option {
	if says == nil {
		return nil
	}
	options := make(map[string]Option)
	set := func(name, message, has, hasNot string) {
		value, how := hasNot, fmt.Sprintf("it has no message %q", message)
		if says[message] {
			value, how = has, fmt.Sprintf("it has the message %q", message)
		}
		if value != "" {
			options[name] = Option{value, Origin{FromImage, file, how}}
		}
	}
	set("MODVERSIONS", SaysDisagrees, "y", "n")
	set("MODULE_SIG", SaysRejected, "y", "n")
	set("MODULE_FORCE_LOAD", SaysBadVermagic, "y", "n")
	set("LIVEPATCH", SaysNoLivepatch, "n", "y")
	set("MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS", SaysImportError, "n", "")
	set("MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS", SaysImportWarning, "y", "")
	set("DEBUG_INFO_BTF_MODULES", SaysBTFMismatch, "y", "n")
	set("MODULE_ALLOW_BTF_MISMATCH", SaysBTFMismatch, "y", "")
	set("DEBUG_INFO_BTF_MODULES", SaysBTFInvalid, "y", "")
	set("MODULE_DECOMPRESS", SaysNotGzip, "y", "n")
	set("MODULE_DECOMPRESS", SaysNotXZ, "y", "")
	set("MODULE_DECOMPRESS", SaysNotZstd, "y", "")
	set("MODULE_COMPRESS_GZIP", SaysNotGzip, "y", "") // without MODULE_DECOMPRESS it may be on and leave no trace
	set("MODULE_COMPRESS_XZ", SaysNotXZ, "y", "")
	set("MODULE_COMPRESS_ZSTD", SaysNotZstd, "y", "")
	if machine == elf.EM_RISCV {
		set("MODULE_SECTIONS", SaysNoGOT, "n", "y")
	}
	return options
}

// embeddedConfig finds the configuration in an image, packed with gzip
// (kernel/configs.c):
//
//	IKCFG_ST | gzip | IKCFG_ED
func embeddedConfig(data []byte) []byte {
	const start, end = "IKCFG_ST\x1f\x8b", "IKCFG_ED"
	i := bytes.Index(data, []byte(start))
	if i < 0 {
		return nil
	}
	data = data[i+len("IKCFG_ST"):]
	data = data[:min(len(data), maxConfig)]
	if i = bytes.Index(data, []byte(end)); i < 0 {
		return nil
	}
	return data[:i:i]
}

func (f *Facts) addEmbeddedConfig(data []byte, file string) {
	packed := embeddedConfig(data)
	if packed == nil {
		return
	}
	c, err := ParseConfig(bytes.NewReader(packed))
	if err != nil {
		f.note(file, "", "the configuration in it cannot be read: %v", err)
		return
	}
	f.addConfig(c, Origin{FromImage, file, "configuration that it has in it"})
}
