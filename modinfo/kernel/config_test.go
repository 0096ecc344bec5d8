package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"

	"github.com/kstage/kstage/internal/kotest"
)

const sample = `#
# Automatically generated file; DO NOT EDIT.
# Linux/riscv 6.12.107 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT="riscv64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0"
CONFIG_LOCALVERSION=""
CONFIG_BLK_DEV_INITRD=y
CONFIG_INITRAMFS_SOURCE=""
CONFIG_RD_GZIP=y
# CONFIG_RD_ZSTD is not set
CONFIG_EXT4_FS=m
CONFIG_NR_CPUS=64
CONFIG_PAGE_OFFSET=0xff60000000000000
CONFIG_CMDLINE="say \"hi\" \\ there"

# end of Something
`

func TestParseConfig(t *testing.T) {
	want := Config{
		"CC_VERSION_TEXT": "riscv64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0", "LOCALVERSION": "",
		"BLK_DEV_INITRD": "y", "INITRAMFS_SOURCE": "", "RD_GZIP": "y", "RD_ZSTD": "n", "EXT4_FS": "m",
		"NR_CPUS": "64", "PAGE_OFFSET": "0xff60000000000000", "CMDLINE": `say "hi" \ there`,
	}
	for name, r := range map[string]io.Reader{
		"plain":       strings.NewReader(sample),
		"gzip":        bytes.NewReader(compressed(sample)),
		"byte wise":   iotest.OneByteReader(strings.NewReader(sample)),
		"other ends":  strings.NewReader(strings.ReplaceAll(sample, "\n", "\r\n")),
		"last wins":   strings.NewReader("CONFIG_NR_CPUS=1\nCONFIG_RD_ZSTD=y\n" + sample),
		"no line end": strings.NewReader(strings.TrimRight(sample, "\n")),
	} {
		if got, err := ParseConfig(r); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func compressed(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.Bytes()
}

func TestParseConfigErrors(t *testing.T) {
	tests := map[string]struct{ config, want string }{
		"empty":         {"", "kernel configuration: not one CONFIG_ option is in it"},
		"comments":      {"# a\n#b\n# CONFIG_X could be set\n", "kernel configuration: not one CONFIG_ option is in it"},
		"text":          {"CONFIG_A=y\nhello\n", `kernel configuration: line 2: "hello" is neither an option nor a comment`},
		"no value":      {"CONFIG_A\n", `kernel configuration: line 1: "CONFIG_A" is no option with a value`},
		"empty value":   {"CONFIG_A=\n", `kernel configuration: line 1: "CONFIG_A=" is no option with a value`},
		"no name":       {"CONFIG_=y\n", `kernel configuration: line 1: "CONFIG_=y" is no option with a value`},
		"blank in name": {"CONFIG_A =y\n", `kernel configuration: line 1: "CONFIG_A =y" is no option with a value`},
		"open quotes":   {"CONFIG_A=\"x\n", `kernel configuration: line 1: "CONFIG_A=\"x" : the quotes are not closed`},
		"after quotes":  {"CONFIG_A=\"x\"y\n", `the quotes are not closed`},
		"long line":     {"CONFIG_A=y\nCONFIG_B=\"" + strings.Repeat("x", maxConfigLine) + "\"\n", "kernel configuration: line 2: longer than 65536 bytes"},
		"too large":     {"CONFIG_A=y\n" + strings.Repeat(strings.Repeat("#", 1023)+"\n", maxConfig>>10), "kernel configuration: larger than 16777216 bytes"},
		"bomb":          {string(compressed("CONFIG_A=y\n" + strings.Repeat("#\n", maxConfig))), "kernel configuration: larger than 16777216 bytes"},
		"cut off":       {string(compressed(sample)[:200]), "kernel configuration: unexpected EOF"},
		"not gzip":      {"\x1f\x8b and no more", "kernel configuration: gzip: invalid header"},
	}
	for name, tt := range tests {
		got, err := ParseConfig(strings.NewReader(tt.config))
		want := strings.ReplaceAll(tt.want, `" :`, `":`)
		if err == nil || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("%s: got %d options, %v, want %s", name, len(got), err, want)
		}
	}
	boom := errors.New("boom")
	if _, err := ParseConfig(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

// The configuration of a real kernel, counted by other means.
func TestLabConfig(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(kotest.Lab(t), "config"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	set := bytes.Count(data, []byte("\nCONFIG_"))
	unset := bytes.Count(data, []byte(" is not set\n"))
	if len(c) != set+unset {
		t.Errorf("%d options, not %d that are set and %d that are not", len(c), set, unset)
	}
	for name, want := range map[string]string{"RD_ZSTD": "y", "RD_GZIP": "y", "BLK_DEV_INITRD": "y", "RISCV": "y", "LOCALVERSION": "", "XEN": ""} {
		if c[name] != want {
			t.Errorf("%s is %q, want %q", name, c[name], want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(sample))
	f.Add(compressed(sample))
	f.Add([]byte("CONFIG_A=\"\\\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(bytes.NewReader(data))
		if (err == nil) != (c != nil) {
			t.Fatalf("%d options and %v", len(c), err)
		}
		if err != nil {
			return
		}
		// Written out it reads the same.
		var b bytes.Buffer
		quote := strings.NewReplacer(`"`, `\"`, `\`, `\\`)
		for name, value := range c {
			fmt.Fprintf(&b, "CONFIG_%s=\"%s\"\n", name, quote.Replace(value))
		}
		again, err := ParseConfig(&b)
		if err != nil || !maps.Equal(c, again) {
			t.Fatalf("read %q, then %q, %v", c, again, err)
		}
	})
}
