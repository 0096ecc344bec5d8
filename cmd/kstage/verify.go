package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
)

// imageVerifier is one run of kstage verify.
type imageVerifier struct {
	*ui
	configPath string
	memory     byteSize
}

func newVerify(u *ui) *cobra.Command {
	v := &imageVerifier{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "verify IMAGE",
		Short:                 "Tell what the kernel would make of an initrd",
		Long: `Follow what the kernel would do with an image, entry by entry, and report what it would
leave out, cut off or stop at; about most of that the kernel itself says nothing.
IMAGE is any initrd; - is standard input.

The exit status is 0 if the kernel would unpack all of the image, 3 if not, and 1 if
the image cannot be read. A note is about something that loses nothing.

A kernel is taken to have every compression, and a machine to have enough memory,
unless --kernel-config and --memory say otherwise. The kernel unpacks into a file
system that gets half of what is left beside the kernel and the image; how much the
kernel takes is reckoned from Debian's for riscv64.`,
		Example: `  kstage verify initrd.img
  kstage verify initrd.img --kernel-config ../linux/.config --memory 256M
  kstage verify - --json < initrd.img | jq -r '.findings[].text'`,
		Args: operands(cobra.ExactArgs(1), "name the image to verify, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&v.configPath, "kernel-config", "", "the configuration `FILE` of the kernel that will unpack the image, such as /boot/config-6.12 or /proc/config.gz")
	cmd.Flags().Var(&v.memory, "memory", "the memory of the machine, such as 256M")
	u.jsonFlag(cmd)
	return cmd
}

func (v *imageVerifier) run(ctx context.Context, name string) error {
	kernel := initrd.Kernel{Memory: int64(v.memory)}
	if v.configPath != "" {
		config, err := openKernelConfig(v.configPath)
		if err != nil {
			return err
		}
		config.describe(&kernel)
	}
	image, err := openImage(ctx, name)
	if err != nil {
		return err
	}
	defer image.Close()
	report, err := initrd.Verify(image, kernel)
	if err != nil {
		return fmt.Errorf("%s: %w", shownName(name), err)
	}
	v.findings(report)
	v.summarize(name, report)
	if err := v.report(verifyJSON(name, report)); err != nil {
		return err
	}
	if !report.Whole() {
		return errProblems
	}
	return nil
}

// describe says what the configuration tells of unpacking. A decompressor can be
// there for another reason than RD_.
func (k *kernelConfig) describe(to *initrd.Kernel) {
	to.Methods = []initrd.Method{}
	for _, m := range []initrd.Method{initrd.Gzip, initrd.Zstd, initrd.XZ, initrd.LZ4, initrd.LZMA, initrd.Bzip2, initrd.LZO} {
		name := strings.ToUpper(m.String())
		if k.config["RD_"+name] == "y" || k.config["DECOMPRESS_"+name] == "y" {
			to.Methods = append(to.Methods, m)
		}
	}
	to.Filters = []string{}
	for option, value := range k.config {
		if name, ok := strings.CutPrefix(option, "XZ_DEC_"); ok && value == "y" {
			to.Filters = append(to.Filters, strings.ToLower(name))
		}
	}
	to.NoInitrd = k.takesNone() || k.config["INITRAMFS_FORCE"] == "y"
	to.NoTimes = k.config["INITRAMFS_PRESERVE_MTIME"] != "y"
	to.BuiltIn = k.config["INITRAMFS_SOURCE"] != ""
}

// findings prints them for people.
func (v *imageVerifier) findings(r *initrd.Report) {
	if v.json {
		return
	}
	shown := make(map[string]int)
	for i, f := range r.Findings {
		if shown[f.Rule]++; shown[f.Rule] > maxAlike {
			continue
		}
		v.line(severityLabel(f.Severity), "%s", findingText(&f))
		if i+1 == len(r.Findings) || r.Findings[i+1].Hint != f.Hint {
			v.hint(f.Hint)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(shown)) {
		if more := r.Counts[rule] - maxAlike; more > 0 {
			v.line("note", "%d more findings like these (%s)", more, rule)
		}
	}
}

func severityLabel(s initrd.Severity) string {
	switch s {
	case initrd.Note:
		return "note"
	case initrd.Drops:
		return "warning"
	}
	return "error"
}

func findingText(f *initrd.Finding) string {
	text := f.Text
	if f.Path != "" {
		text = escape(f.Path) + ": " + text
	}
	if place := f.Place(); place != "" {
		text += " (" + place + ")"
	}
	if f.Kernel != "" {
		text += "\nthe kernel says: " + f.Kernel
	}
	return text
}

func (v *imageVerifier) summarize(name string, r *initrd.Report) {
	verdict := "the kernel would unpack all of it"
	if !r.Whole() {
		verdict = "the kernel would not unpack all of it"
	}
	var methods []string
	for _, s := range r.Segments {
		if text := strings.Replace(s.Method.String(), "none", "plain", 1); !slices.Contains(methods, text) {
			methods = append(methods, text)
		}
	}
	text := fmt.Sprintf("%s: %s: %s", shownName(name), verdict, count(len(r.Segments), "segment", "segments"))
	if len(methods) > 0 {
		text += " (" + strings.Join(methods, ", ") + ")"
	}
	v.say("%s, %s, %s, %s unpacked, takes %s of memory beside the kernel", text, count(r.Entries, "entry", "entries"), size(r.Size), size(r.Unpacked), size(r.Needed))
}

// verifyReport is what --json prints; members are only ever added.
type verifyReport struct {
	Image    string         `json:"image"`
	Whole    bool           `json:"whole"` // the kernel would unpack all of it
	Segments []segmentJSON  `json:"segments"`
	Entries  int            `json:"entries"`
	Size     int64          `json:"size"`     // bytes of the image
	Unpacked int64          `json:"unpacked"` // bytes of its archives
	Files    int64          `json:"files"`    // bytes of memory that the files take
	Needed   int64          `json:"needed"`   // bytes of memory while it is unpacked
	Findings []findingJSON  `json:"findings"` // at most 1000 of one rule
	Counts   map[string]int `json:"counts"`   // of each rule
}

type findingJSON struct {
	Rule     string          `json:"rule"`
	Severity initrd.Severity `json:"severity"` // note, drops, truncates, stops, memory
	Path     string          `json:"path,omitempty"`
	PathB64  string          `json:"path_base64,omitempty"` // if it is no UTF-8
	Segment  int             `json:"segment"`               // counted from 1; 0: the image as a whole
	Offset   int64           `json:"offset"`
	OffsetIn string          `json:"offset_in"` // image, or segment: its unpacked bytes
	Text     string          `json:"text"`
	Kernel   string          `json:"kernel,omitempty"` // what the kernel says
	Hint     string          `json:"hint,omitempty"`
}

func verifyJSON(name string, r *initrd.Report) verifyReport {
	j := verifyReport{
		Image: name, Whole: r.Whole(), Segments: segmentsJSON(r.Segments), Entries: r.Entries,
		Size: r.Size, Unpacked: r.Unpacked, Files: r.Files, Needed: r.Needed, Findings: []findingJSON{}, Counts: r.Counts,
	}
	for _, f := range r.Findings {
		in := "image"
		if f.Packed {
			in = "segment"
		}
		j.Findings = append(j.Findings, findingJSON{f.Rule, f.Severity, f.Path, notText(f.Path), f.Segment + 1, f.Offset, in, f.Text, f.Kernel, f.Hint})
	}
	return j
}
