package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/slim"
)

// stripFlags are the options that make modules smaller.
type stripFlags struct {
	strip, keepSignatures bool
}

func (f *stripFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.strip, "strip", false, "make modules smaller: leave out the assembler's labels and debug sections; signatures go with them")
	flags.BoolVar(&f.keepSignatures, "keep-signatures", false, "refuse to strip modules that are signed")
}

// A stripReport tells what has been done with the modules of a kernel.
type stripReport struct {
	Modules  int   `json:"modules"`  // that have become smaller
	Of       int   `json:"of"`       // so many
	Saved    int64 `json:"saved"`    // bytes of their files
	Unsigned int   `json:"unsigned"` // that had a signature, and have none any more
}

// say words it for the summary.
func (r *stripReport) say() string {
	text := fmt.Sprintf("%d of %s stripped, %s less", r.Modules, count(r.Of, "module", "modules"), size(r.Saved))
	if r.Unsigned > 0 {
		text += fmt.Sprintf("; %s with it", count(r.Unsigned, "signature is gone", "signatures are gone"))
	}
	return text
}

// stripModules strips the modules of a kernel in the tree. A module that cannot be stripped
// stays as it is, with a warning.
func (p *packer) stripModules(ctx context.Context, tree *initrd.Tree, k *kernel, side *kernelSide) error {
	defer boundMemory(indexMemory)()
	s := &stripper{entries: moduleEntries(tree, k), spool: &p.sources.spool, limit: int64(p.index.maxModuleSize), refused: p.strip.refusal(side)}
	if err := s.run(ctx, p.step("stripping modules of "+k.Version)); err != nil {
		return err
	}
	k.Stripped = &stripReport{Of: len(s.entries)}
	var problems []depmod.Problem
	for i, r := range s.results {
		e := &s.entries[i]
		if r.err != nil {
			problems = append(problems, depmod.Problem{Rule: "strip", Severity: depmod.Warning, Path: strings.TrimPrefix(e.Path, k.Dir+"/"), Err: r.err,
				Text: "is left as it is: " + r.err.Error()})
		}
		if r.report.Unsigned {
			k.Stripped.Unsigned++
		}
		if r.content == nil {
			continue
		}
		k.Stripped.Modules++
		k.Stripped.Saved += e.Size - r.content.Size()
		e.Open, e.Size, e.Link = r.open, r.content.Size(), 0 // other names of the file may not be modules
		if err := tree.Put(*e); err != nil {
			return err
		}
	}
	if k.Stripped.Unsigned > 0 && s.refused != nil {
		return signaturesNeeded(k.Dir, k.Stripped.Unsigned, s.refused)
	}
	p.problems(k.Dir+"/", problems)
	k.Problems = append(k.Problems, problems...)
	return nil
}

// refusal tells why modules must keep their signatures; nil if they need not.
func (f *stripFlags) refusal(side *kernelSide) error {
	if f.keepSignatures {
		return errors.New("--keep-signatures is given")
	}
	for _, name := range []string{"MODULE_SIG_FORCE", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY"} {
		if o := side.facts.Option(name); o.Yes() {
			return fmt.Errorf("the kernel loads signed modules only (%s=y, %s)", name, o.From)
		}
	}
	return nil
}

// signaturesNeeded is the error for a kernel whose modules must keep their signatures.
func signaturesNeeded(dir string, signed int, why error) error {
	return withHint(fmt.Errorf("%s: --strip would take the signatures of %s: %w", dir, count(signed, "module", "modules"), why), "leave out --strip")
}

// moduleEntries are the files of a kernel's modules in the tree.
func moduleEntries(tree *initrd.Tree, k *kernel) []initrd.Entry {
	var entries []initrd.Entry
	seen := make(map[string]bool)
	for _, m := range k.tree.Modules {
		e, ok := tree.Get(path.Join(k.Dir, m.Path))
		if !ok || e.Mode.Type() == fs.ModeSymlink { // or a directory above is one
			e, ok = tree.Get(m.File())
		}
		if ok && e.Mode.IsRegular() && e.Open != nil && !seen[e.Path] {
			seen[e.Path] = true
			entries = append(entries, e)
		}
	}
	return entries
}

// A stripper strips several modules at once.
type stripper struct {
	entries []initrd.Entry
	results []stripResult // in the order of entries
	limit   int64         // of an unpacked module
	refused error         // signed modules are only counted

	mu    sync.Mutex
	spool *spoolFile
}

// A stripResult is what became of a module.
type stripResult struct {
	report  slim.Report
	content *io.SectionReader // nil if the module is as it was
	err     error             // why it is
}

// spooled is an open file in the spool.
type spooled struct{ *io.SectionReader }

func (spooled) Close() error { return nil }

func (r *stripResult) open() (io.ReadCloser, error) {
	return spooled{io.NewSectionReader(r.content, 0, r.content.Size())}, nil
}

func (s *stripper) run(ctx context.Context, progress func(done, total int)) error {
	s.results = make([]stripResult, len(s.entries))
	group, ctx := errgroup.WithContext(ctx)
	var next, done atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			w := stripWorker{stripper: s, unpacker: modinfo.Unpacker{MaxSize: s.limit}}
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(s.entries) {
					return nil
				}
				if err := w.strip(&s.entries[i], &s.results[i]); err != nil {
					return fmt.Errorf("%s: %w", s.entries[i].Path, err)
				}
				if n := done.Add(1); progress != nil {
					progress(int(n), len(s.entries))
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

type stripWorker struct {
	*stripper
	unpacker modinfo.Unpacker
	packer   modinfo.Packer
}

// strip strips a module and packs it as it was packed.
func (w *stripWorker) strip(e *initrd.Entry, r *stripResult) error {
	module, packing, err := w.read(e)
	if err != nil || !bytes.HasPrefix(module, []byte("\x7fELF")) {
		return nil // what is wrong has been told when it was indexed
	}
	module, r.report, r.err = slim.Strip(module)
	if !r.report.Changed() || r.report.Unsigned && w.refused != nil {
		return nil
	}
	packed, err := w.packer.Pack(packing, module)
	if err != nil {
		return err
	}
	r.content, err = w.keep(packed)
	return err
}

func (w *stripWorker) read(e *initrd.Entry) ([]byte, modinfo.Compression, error) {
	f, err := e.Open()
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok {
		data, err := io.ReadAll(f)
		if err != nil {
			return nil, 0, err
		}
		at = bytes.NewReader(data)
	}
	return w.unpacker.Unpack(at, e.Size)
}

// keep puts a file into the spool.
func (s *stripper) keep(data []byte) (*io.SectionReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	off, err := s.spool.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.spool.Write(data)
	}
	return io.NewSectionReader(s.spool, off, int64(len(data))), err
}
