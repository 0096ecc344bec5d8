package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kstage/kstage/internal/imagetest"
)

// crafted are the images of testdata/images, named by their defects, with what is to
// be found: rule, severity, segment, offset ("+" if in decompressed bytes), path. The boot
// tests compare the same images with what a kernel does.
var crafted = map[string]string{
	"parent-missing":         "parent drops 1:0 late/file",
	"parent-is-file":         "parent drops 1:120 plain/below",
	"parent-loop":            "parent drops 1:256 ring-a/file",
	"body-on-directory":      "body drops 1:0 stout",
	"body-on-device":         "body drops 1:0 fat-device",
	"body-on-fifo":           "body drops 1:0 fat-fifo",
	"type-missing":           "type drops 1:0 typeless",
	"name-size-zero":         "name-size drops 1:0",
	"name-size-4097":         "name-size drops 1:0",
	"name-part-256":          "long-name drops 1:0 " + strings.Repeat("n", 256),
	"name-empty":             "place drops 1:0",
	"name-with-slash":        "place drops 1:0 slash/",
	"replace-full-directory": "replace drops 1:240 full",
	"link-other-data":        "link drops 1:128 other-name",
	"link-across-archives":   "link drops 1:244 right-a",
	"link-more-names":        "link drops 1:244 empty-c",
	"link-gone":              "link drops 1:124 itself",
	"symlink-empty":          "target note 1:128 was-a-file",
	"symlink-4096":           "target drops 1:4220 too-long",
	"symlink-4097":           "target drops 1:0 much-too-long",
	"symlink-zero-byte":      "target drops 1:0 cut-link",
	"device-number":          "device drops 1:0 big-major; device drops 1:120 big-minor",
	"checksum-of-dropped":    "parent drops 1:0 no-dir/summed",
	"damaged-gzip-sum":       "damaged drops 1:+252",
	"split-header-whole":     "type drops 1:+32776 typeless",
	"trailer-passed-over":    "type drops 1:124 TRAILER!!!; link drops 1:256 after-it",

	"alignment":                 "alignment stops 1:93",
	"checksum":                  "checksum stops 1:0 summed",
	"digits":                    "digits stops 1:0",
	"empty-first-frame":         "empty-frame stops 1:+0",
	"frame-end-cut":             "frame-end stops 1:+120 halved",
	"frame-end-gzip":            "frame-end stops 1:+120 halved",
	"frame-end-xz":              "frame-end stops 1:+120 halved",
	"frame-end-zstd":            "frame-end stops 1:+120 halved",
	"gzip-comment":              "gzip-header stops 1:0",
	"junk-in-gzip":              "junk stops 1:+128",
	"lz4-frame":                 "lz4-frame stops 1:0",
	"lz4-open":                  "lz4-end stops 1:+248",
	"lz4-three-zeros":           "lz4-end stops 1:+248",
	"lz4-gzip":                  "damaged stops 1:+248",
	"lzma-end":                  "lzma-end stops 1:75",
	"magic-junk-behind":         "magic stops 1:512",
	"magic-odc":                 "magic stops 1:0",
	"magic-unknown":             "magic stops 1:124",
	"name-without-zero":         "name stops 1:0",
	"name-without-zero-symlink": "name stops 1:0",
	"padding-odd":               "padding stops 1:135",
	"padding-odd-compressed":    "padding stops 1:261",
	"padding-odd-gzip":          "padding stops 1:+135",
	"padding-odd-next-frame":    "padding stops 1:+253",
	"skippable-frame":           "skippable-frame stops 1:257",
	"split-header":              "type drops 1:+32724 typeless; split-header stops 1:+32724 typeless",
	"window-28":                 "window stops 1:0",
	"xz-crc64":                  "xz-check stops 1:0",
	"xz-filter-x86":             "xz-filter stops 1:+0",
	"xz-sha256":                 "xz-check stops 1:0",
	"zeros-first-frame":         "magic stops 1:+0",

	"cut-off-data":     "cut-off truncates 1:128 cut-file",
	"cut-off-header":   "cut-off truncates 1:128",
	"cut-off-padding":  "cut-off note 1:128 cut-file",
	"cut-off-gzip":     "damaged stops 1:+0",
	"cut-off-gzip-sum": "damaged stops 1:+252",
	"cut-off-lz4":      "damaged stops 1:+0",
	"cut-off-xz":       "damaged stops 1:+0",
	"cut-off-zstd":     "damaged stops 1:+0",

	"time-2106":         "time note 1:0 future",
	"trailer-missing":   "trailer note 1:0",
	"trailer-with-data": "trailer note 1:132 TRAILER!!!",

	"window-27":       "",
	"good-frames":     "",
	"good-links":      "",
	"good-names":      "",
	"good-lzma-bzip2": "",
	"good-lz4-end":    "lz4-end note 1:260",
}

// found puts findings into words.
func found(findings []Finding) string {
	var all []string
	for _, f := range findings {
		at := fmt.Sprintf("%d:", f.Segment+1)
		if f.Packed {
			at += "+"
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s%d %s", f.Rule, f.Severity, at, f.Offset, f.Path)))
	}
	return strings.Join(all, "; ")
}

// withoutInit leaves out that there is no init, which no crafted image has.
func withoutInit(t *testing.T, r *Report) []Finding {
	last := len(r.Findings) - 1
	if last < 0 || r.Findings[last].Rule != RuleInit || r.Findings[last].Severity != Note {
		t.Errorf("the last finding is not that there is no init: %s", found(r.Findings))
		return r.Findings
	}
	return r.Findings[:last]
}

func TestVerifyCrafted(t *testing.T) {
	files, err := filepath.Glob("testdata/images/*.txt")
	must(t, err)
	if len(files) != len(crafted) {
		t.Errorf("there are %d images, and findings for %d", len(files), len(crafted))
	}
	for name, want := range crafted {
		image := imagetest.File(t, "testdata/images/"+name+".txt")
		r, err := Verify(bytes.NewReader(image), Kernel{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := found(withoutInit(t, r)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		if whole := !strings.Contains(want, "drops") && !strings.Contains(want, "stops") && !strings.Contains(want, "truncates"); r.Whole() != whole {
			t.Errorf("%s: whole: %v", name, r.Whole())
		}
		if r.Size != int64(len(image)) {
			t.Errorf("%s: size %d, not %d", name, r.Size, len(image))
		}
		for _, f := range r.Findings {
			if f.Severity == Stops && f.Kernel == "" && f.Rule != RuleDamaged && f.Rule != RuleGzip {
				t.Errorf("%s: nothing about what the kernel says", name)
			}
		}
	}
}

func craftedImage(t testing.TB, text string) []byte {
	image, err := imagetest.Image(text)
	must(t, err)
	return image
}

// What depends on the kernel.
func TestVerifyKernel(t *testing.T) {
	const init = "file init x mode=0100755\n"
	gz := "gzip\n" + init + "trailer\nend"
	big := "file init x mode=0100755\nfile big \"\" data=0*9000000\nfile bigger \"\" data=0*9000000\ntrailer"
	many := init + strings.Repeat("dir d\nfile d/a\nfile d/b x\nfile d/c\nfile d/d\nfile d/e\n", 2) + "trailer"
	tests := []struct {
		name, image string
		kernel      Kernel
		want        string
	}{
		{"has it", gz, Kernel{Methods: []Method{XZ, Gzip}}, ""},
		{"lacks it", gz, Kernel{Methods: []Method{XZ}}, "method stops 1:0; init note 0:0"},
		{"lacks all", gz, Kernel{Methods: []Method{}}, "method stops 1:0; init note 0:0"},
		{"plain needs none", init + "trailer", Kernel{Methods: []Method{}}, ""},
		{"takes no image", gz, Kernel{NoInitrd: true}, "initrd stops 0:0"},
		{"without times", init + "file a x mtime=9\nfile b x mtime=8\ntrailer", Kernel{NoTimes: true}, "time note 1:120 a"},
		{"without times, none there", init + "trailer", Kernel{NoTimes: true}, ""},
		{"of its own", init + "dir root\ntrailer", Kernel{BuiltIn: true}, ""},
		{"of its own, no dev", init + "file dev/x\ntrailer", Kernel{BuiltIn: true}, "parent drops 1:120 dev/x"},
		{"enough memory", big, Kernel{Memory: 1 << 30}, ""},
		{"little memory", big, Kernel{Memory: 110 << 20}, "memory memory 1:9000236 bigger"},
		{"none", big, Kernel{Memory: 1}, "memory memory 1:0 init"},
		{"inodes", many, Kernel{Memory: 70 << 20}, ""},
		{"window", "zstd window=27\n" + init + "trailer\nend", Kernel{Memory: 192 << 20}, "memory memory 1:0"},
		{"window fits", "zstd window=27\n" + init + "trailer\nend", Kernel{Memory: 512 << 20}, ""},
		{"xz dictionary", "xz\n" + init + "trailer\nend", Kernel{Memory: 100 << 20}, ""},
	}
	for _, tt := range tests {
		r, err := Verify(bytes.NewReader(craftedImage(t, tt.image)), tt.kernel)
		must(t, err)
		if got := found(r.Findings); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// A tmpfs has an inode for every second page.
func TestVerifyInodes(t *testing.T) {
	var text strings.Builder
	text.WriteString("gzip\nfile init x mode=0100755\n")
	for i := range 9000 {
		fmt.Fprintf(&text, "dir d%d\n", i)
	}
	image := craftedImage(t, text.String()+"trailer\nend")
	r, err := Verify(bytes.NewReader(image), Kernel{Memory: 128 << 20})
	must(t, err)
	if got := found(r.Findings); !strings.HasPrefix(got, "memory memory 1:+") || len(r.Findings) != 1 {
		t.Error(got)
	}
	if r, err = Verify(bytes.NewReader(image), Kernel{Memory: 160 << 20}); err != nil || len(r.Findings) > 0 {
		t.Error(found(r.Findings), err)
	}
}

func TestVerifyInit(t *testing.T) {
	for text, want := range map[string]string{
		"file init x mode=0100755":                                 "",
		"dir bin\nsymlink init bin/sh\nfile bin/sh x mode=0100700": "",
		"dir bin\nsymlink bin/sh /init\nfile init x mode=0100001":  "",
		"symlink init nowhere":                                     "there is no /init",
		"symlink init init":                                        "there is no /init",
		"dir init":                                                 "/init is no file",
		"file init x":                                              "/init may not be executed",
		"file init mode=0100755":                                   "/init is empty",
		"dir sbin\nfile sbin/init x":                               "there is no /init",
	} {
		r, err := Verify(bytes.NewReader(craftedImage(t, text+"\ntrailer")), Kernel{})
		must(t, err)
		got := ""
		for _, f := range r.Findings {
			got += f.Text
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" || !r.Whole() {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What init writes to must be the console.
func TestVerifyConsole(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"char dev/console 5 1":     "",
		"char dev/console 5 2":     "", // the one that is there stays
		"file dev/console x":       "console note 0:0",
		"dir dev\nfile dev/null x": "",
	} {
		r, err := Verify(bytes.NewReader(craftedImage(t, "file init x mode=0100755\n"+text+"\ntrailer")), Kernel{})
		must(t, err)
		if got := found(r.Findings); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// An image that cannot be read is no finding.
func TestVerifyErrors(t *testing.T) {
	broken := errors.New("broken cable")
	a := craftedImage(t, "file init x mode=0100755")
	for _, r := range []io.Reader{
		iotest.ErrReader(broken),
		io.MultiReader(bytes.NewReader(a[:50]), iotest.ErrReader(broken)),
		io.MultiReader(bytes.NewReader(a), iotest.ErrReader(broken)),
		io.MultiReader(bytes.NewReader(craftedImage(t, "bytes junk")), iotest.ErrReader(broken)), // behind where it stops
	} {
		if report, err := Verify(r, Kernel{}); !errors.Is(err, broken) || report != nil {
			t.Errorf("%v, %v", report, err)
		}
	}
	for text, want := range map[string]string{
		"hex 894c5a4f000d0a1a0a": "lzo: not supported",
		// xz --check=crc32 --arm64 --lzma2=dict=4096
		"hex fd377a585a0000016922de3602010a0021010000aa52a739e000f7003a5d00180ddd04639d11db41925aff92a14d989c72097b1c7a55881c1b641b681948b8894f2088e754599a19d7f1433ce9c4743e956176f21a18ffd0980000003df9068e000152f801000000d801eb423e300d8b020000000001595a": "filter ARM64 BCJ",
	} {
		if report, err := Verify(bytes.NewReader(craftedImage(t, text)), Kernel{}); report != nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, %v", report, err)
		}
	}
}

// Findings of one rule are bounded, their number is not.
func TestVerifyMany(t *testing.T) {
	image := craftedImage(t, "gzip\n"+strings.Repeat("file no/where x\n", maxFindings+50)+"trailer\nend")
	r, err := Verify(bytes.NewReader(image), Kernel{})
	must(t, err)
	if len(r.Findings) != maxFindings+1 || r.Counts[RuleParent] != maxFindings+50 || r.Entries != maxFindings+50 {
		t.Errorf("%d findings, %v, %d entries", len(r.Findings), r.Counts, r.Entries)
	}
}

func TestVerifyNumbers(t *testing.T) {
	text := "file init x mode=0100755\nfile big \"\" data=0*5000\nfile big \"\" data=0*4096\nfile gone x\nsymlink gone there\ntrailer\n"
	image := craftedImage(t, text+"gzip\n"+"file packed \"\" data=1*20000\ntrailer\nend\nzstd window=20\nfile z x\ntrailer\nend")
	r, err := Verify(bytes.NewReader(image), Kernel{})
	must(t, err)
	if len(r.Segments) != 3 || r.Entries != 7 || r.Size != int64(len(image)) {
		t.Errorf("%+v", r)
	}
	// Pages: 1 of init, 1 of big, 5 of packed, 1 of z.
	if r.Files != 8*4096 || r.Needed != r.Size+8*4096+1<<20 {
		t.Errorf("files %d, needed %d of %d", r.Files, r.Needed, r.Size)
	}
	if want := r.Segments[0].Size + 120 + 20000 + 124 + 116 + 124; r.Unpacked != want {
		t.Errorf("unpacked %d, want %d", r.Unpacked, want)
	}
}

// What we write is whole.
func TestVerifyOwn(t *testing.T) {
	for _, c := range everyCompression {
		r, err := Verify(bytes.NewReader(imageOf(t, sample(t), Options{Compression: compression(t, c), ModTime: 7})), Kernel{})
		must(t, err)
		if got := found(r.Findings); got != "" {
			t.Errorf("%s: %s", c, got)
		}
	}
}
