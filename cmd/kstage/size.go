package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/initrd"
)

// sizer is one run of kstage size.
type sizer struct {
	*ui
	depth, top int

	files    []sized
	segments []initrd.Segment
}

// sized is a file, or a sum of files.
type sized struct {
	Path    string `json:"path"`
	PathB64 string `json:"path_base64,omitempty"` // if it is no UTF-8
	Files   int    `json:"files"`
	Size    int64  `json:"size"`               // bytes of contents
	InImage *int64 `json:"in_image,omitempty"` // its part of the image, in proportion; absent for a directory

	stored  int64 // with header and padding
	segment int
	regular bool
}

// sizeReport is what --json prints.
type sizeReport struct {
	Segments    []segmentJSON `json:"segments"` // none for a directory
	Total       sized         `json:"total"`
	Directories []sized       `json:"directories"` // the largest; each file counts in one
	Files       []sized       `json:"files"`       // the largest
	Modules     []moduleSum   `json:"modules"`
}

// moduleSum sums up the modules that are compressed in the same way.
type moduleSum struct {
	Compression string `json:"compression"` // none, gzip, xz, zstd
	sized
}

func newSize(u *ui) *cobra.Command {
	s := &sizer{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "size IMAGE|DIR",
		Short:                 "Tell what takes the space in an initrd or a directory",
		Long: `Tell what takes the space in an image or a directory: by directory, each file counted
in one of them, by file and by module. IMAGE is any initrd; - is standard input.

SIZE is the bytes of the contents as they are stored, replaced files included. IN
IMAGE is what they take in the image: the compressed bytes of their segment in
proportion to the unpacked ones, headers and padding included. It is exact in a
plain segment; in a compressed one some files shrink more than others.`,
		Example: `  kstage size initrd.img
  kstage size initrd.img --depth 5 --top 30
  kstage size initrd.img --json --top 0 | jq '.files[] | select(.size > 1e6)'`,
		Args: operands(cobra.ExactArgs(1), "name an image or a directory, - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.depth < 0 || s.top < 0 {
				return &usageError{line: cmd.UseLine(), err: fmt.Errorf("--depth and --top are not negative")}
			}
			return s.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().IntVar(&s.depth, "depth", 2, "tell directories apart to `N` levels below the root")
	cmd.Flags().IntVar(&s.top, "top", 10, "list the `N` largest directories and files, 0 for all")
	u.jsonFlag(cmd)
	return cmd
}

func (s *sizer) run(ctx context.Context, name string) (err error) {
	if info, serr := os.Stat(name); serr == nil && info.IsDir() {
		err = s.directory(name)
	} else {
		s.segments, err = eachEntry(ctx, name, s.entry)
	}
	if err != nil {
		return err
	}
	s.shares()
	slices.SortFunc(s.files, largestFirst)
	r := sizeReport{Segments: segmentsJSON(s.segments), Total: sum("", s.files), Modules: s.modules()}
	r.Directories, r.Files = s.directories(), s.largest()
	if s.json {
		r.Directories = r.Directories[:s.most(len(r.Directories))]
		return s.report(r)
	}
	return s.print(name, r)
}

func largestFirst(a, b sized) int {
	return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Path, b.Path))
}

// entry counts an entry of an image.
func (s *sizer) entry(_ *initrd.Reader, h *initrd.Header) error {
	p := cleanName(h.Name)
	const header = 110
	name, data := (header+int64(h.NameSize)+3)&^3, (int64(h.Size)+3)&^3
	s.files = append(s.files, sized{
		Path: p, PathB64: notText(p), Files: 1, Size: int64(h.Size),
		stored: name + data, segment: h.Segment, regular: h.FileMode().IsRegular(),
	})
	return nil
}

// directory counts the files of a directory, linked ones once.
func (s *sizer) directory(name string) error {
	root, err := openRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	var tree initrd.Tree
	if _, err := tree.AddFS(root); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	seen := make(map[uint64]bool)
	for e := range tree.All() {
		if e.Path == "." || e.Link != 0 && seen[e.Link] {
			continue
		}
		seen[e.Link] = true
		one := sized{Path: e.Path, PathB64: notText(e.Path), Files: 1, regular: e.Mode.IsRegular(), Size: e.Size}
		if e.Mode.Type() == fs.ModeSymlink {
			one.Size = int64(len(e.Target))
		}
		s.files = append(s.files, one)
	}
	return nil
}

// shares gives every file its part of the image.
func (s *sizer) shares() {
	for i := range s.files {
		f := &s.files[i]
		if s.segments == nil {
			continue
		}
		part := f.stored
		if seg := s.segments[f.segment]; seg.Unpacked > 0 {
			part = int64(float64(f.stored) * float64(seg.Size) / float64(seg.Unpacked))
		}
		f.InImage = &part
	}
}

// sum adds files up.
func sum(p string, files []sized) sized {
	all := sized{Path: p, PathB64: notText(p)}
	for _, f := range files {
		all.Files += f.Files
		all.Size += f.Size
		if f.InImage == nil {
			continue
		}
		if all.InImage == nil {
			all.InImage = new(int64)
		}
		*all.InImage += *f.InImage
	}
	return all
}

// directories sums up by the directory that files lie in, cut off at the depth.
func (s *sizer) directories() []sized {
	in := make(map[string][]sized)
	for _, f := range s.files {
		dir := "."
		if parts := strings.Split(path.Dir(f.Path), "/"); s.depth > 0 {
			dir = strings.Join(parts[:min(len(parts), s.depth)], "/")
		}
		in[dir] = append(in[dir], f)
	}
	var all []sized
	for dir, files := range in {
		all = append(all, sum(dir, files))
	}
	slices.SortFunc(all, largestFirst)
	return all
}

// most is how many of n are listed.
func (s *sizer) most(n int) int {
	if s.top == 0 {
		return n
	}
	return min(n, s.top)
}

// largest gives the largest regular files.
func (s *sizer) largest() []sized {
	all := slices.DeleteFunc(slices.Clone(s.files), func(f sized) bool { return !f.regular })
	return all[:s.most(len(all))]
}

// withRest sums up the directories that are not among the largest.
func (s *sizer) withRest(all []sized) []sized {
	n := s.most(len(all))
	if n == len(all) {
		return all
	}
	return append(all[:n:n], sum(fmt.Sprintf("(%d more)", len(all)-n), all[n:]))
}

// moduleCompression tells how a module is compressed by its name; empty for other files.
func moduleCompression(p string) string {
	m := moduleEnding().FindStringSubmatch(p)
	if m == nil {
		return ""
	}
	return map[string]string{"": "none", "gz": "gzip", "xz": "xz", "zst": "zstd"}[m[1]]
}

// modules sums the modules up by compression.
func (s *sizer) modules() []moduleSum {
	by := make(map[string][]sized)
	for _, f := range s.files {
		if c := moduleCompression(f.Path); c != "" && f.regular {
			by[c] = append(by[c], f)
		}
	}
	all := []moduleSum{}
	for _, c := range slices.Sorted(maps.Keys(by)) {
		all = append(all, moduleSum{c, sum("", by[c])})
	}
	return all
}

// print writes the tables.
func (s *sizer) print(name string, r sizeReport) error {
	t := table{tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)}
	if len(s.segments) > 0 {
		t.row("SEGMENT", "ENTRIES", "UNPACKED", "IN IMAGE", "RATIO", "METHOD")
		for i, g := range s.segments {
			ratio := "-"
			if g.Unpacked > 0 {
				ratio = fmt.Sprintf("%.1f %%", 100*float64(g.Size)/float64(g.Unpacked))
			}
			t.row(fmt.Sprint(i+1), fmt.Sprint(g.Entries), size(g.Unpacked), size(g.Size), ratio, methodWord(g.Method))
		}
		t.gap()
	}
	t.files("DIRECTORY", s.withRest(r.Directories), true)
	t.gap()
	t.files("FILE", r.Files, false)
	if len(r.Modules) > 0 {
		t.gap()
		sums := make([]sized, 0, len(r.Modules))
		for _, m := range r.Modules {
			m.Path = strings.Replace(m.Compression, "none", "not compressed", 1)
			sums = append(sums, m.sized)
		}
		t.files("MODULES", sums, true)
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	text := fmt.Sprintf("%s: %s of contents in %s", shownName(name), size(r.Total.Size), count(r.Total.Files, "entry", "entries"))
	if r.Total.InImage != nil {
		text += fmt.Sprintf(", %s of the image", size(*r.Total.InImage))
	}
	s.say("%s", text)
	return nil
}

func methodWord(m initrd.Method) string {
	if m == initrd.None {
		return "plain"
	}
	return m.String()
}

// table is several tables below each other.
type table struct{ w *tabwriter.Writer }

// row writes cells; the last one stands to the left.
func (t table) row(cells ...string) {
	last := len(cells) - 1
	fmt.Fprintf(t.w, "%s\t  %s\n", strings.Join(cells[:last], "\t"), cells[last])
}

func (t table) gap() { fmt.Fprintln(t.w) }

func (t table) files(heading string, files []sized, counts bool) {
	heads := []string{"SIZE"}
	if len(files) > 0 && files[0].InImage != nil {
		heads = append(heads, "IN IMAGE")
	}
	if counts {
		heads = append(heads, "ENTRIES")
	}
	t.row(append(heads, heading)...)
	for _, f := range files {
		cells := []string{size(f.Size)}
		if f.InImage != nil {
			cells = append(cells, size(*f.InImage))
		}
		if counts {
			cells = append(cells, fmt.Sprint(f.Files))
		}
		t.row(append(cells, escape(f.Path))...)
	}
}
