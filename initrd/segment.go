package initrd

import (
	"fmt"
	"io/fs"
	"path"
)

// A segment is one archive of an image, with a trailer of its own. The kernel
// unpacks one after the other into the same file system.
type segment struct {
	recs        []record
	compression Compression // none: the archive stands in the image as it is
	early       bool
}

// layout lays out the image: what goes into which segment, and where each
// entry of the plain ones lies. These come first, so that they begin at a
// multiple of 4, as the kernel wants it, whatever becomes of the rest.
func layout(t *Tree, o Options) ([]segment, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	var segs []segment
	var numbers uint32
	if o.Early != nil && o.Early.Len() > 0 {
		if err := laysOver(o.Early, t); err != nil {
			return nil, err
		}
		recs, err := plan(o.Early, o.ModTime, &numbers)
		if err != nil {
			return nil, fmt.Errorf("early: %w", err)
		}
		segs = append(segs, segment{recs: recs, early: true})
	}
	rest, err := plan(t, o.ModTime, &numbers)
	if err != nil {
		return nil, err
	}
	if o.Compression.Method != None && !o.OneSegment {
		var packed []record
		if packed, rest = split(rest); len(packed) > 0 {
			segs = append(segs, segment{recs: packed})
		}
	}
	if len(rest) > 0 || len(segs) == 0 {
		segs = append(segs, segment{recs: rest, compression: o.Compression})
	}
	if o.Align > 0 {
		alignAll(segs, int64(o.Align))
	}
	return segs, nil
}

// maxAlign is what the name of an entry can always make up for, alone or with a
// filler's.
const maxAlign = 4096

// Check reports what is wrong with the options by themselves.
func (o *Options) Check() error {
	if o.Align != 0 && (o.Align < 4 || o.Align > maxAlign || o.Align&(o.Align-1) != 0) {
		return fmt.Errorf("align: data cannot be put on multiples of %d bytes, only of a power of two from 4 to %d", o.Align, maxAlign)
	}
	return o.Compression.check()
}

// laysOver makes sure that the kernel can lay t over what it has unpacked of early:
// it removes what is in the way of another type, but no directory that holds
// something (clean_path in init/initramfs.c).
func laysOver(early, t *Tree) error {
	for p, n := range early.nodes {
		if over, ok := t.nodes[p]; ok && n.kids > 0 && !over.Mode.IsDir() {
			return fmt.Errorf("early: %s: is a directory here but %s in the tree, which the kernel could not put in its place", p, kindOf(over.Mode))
		}
	}
	return nil
}

// packedEndings are the endings of files that are compressed already: modules,
// firmware and whatever else. To compress them again gains nothing and makes
// the kernel unpack them twice.
var packedEndings = map[string]bool{
	".bz2": true, ".gz": true, ".lz4": true, ".lzma": true, ".lzo": true, ".xz": true, ".zst": true,
}

// split takes out the files that are compressed already, with the directories
// they lie in. All names of one file stay together: a link across segments is
// none.
func split(recs []record) (packed, rest []record) {
	files := make(map[uint32]bool) // by number, which the names of a file share
	for i := range recs {
		if e := &recs[i].entry; e.Mode.IsRegular() && e.Size > 0 && packedEndings[path.Ext(e.Path)] {
			files[recs[i].ino] = true
		}
	}
	dirs := make(map[string]bool)
	for i := range recs {
		if !files[recs[i].ino] {
			continue
		}
		for p := recs[i].name; p != rootPath && !dirs[path.Dir(p)]; {
			p = path.Dir(p)
			dirs[p] = true
		}
	}
	for _, r := range recs {
		if files[r.ino] || r.entry.Mode.IsDir() && dirs[r.name] {
			packed = append(packed, r)
		} else {
			rest = append(rest, r)
		}
	}
	return packed, rest
}

// alignAll puts the data of files in plain segments on multiples of n.
func alignAll(segs []segment, n int64) {
	var at int64
	for i := range segs {
		if s := &segs[i]; s.compression.Method == None {
			s.recs = align(s.recs, at, n)
			at += archiveSize(s.recs)
		}
	}
}

// align puts the data of files on multiples of n, given the offset at which the
// archive begins. It has the name field grow by zero bytes, as gen_init_cpio of
// the kernel does; where the field would become larger than the kernel takes,
// another header of the root directory goes before and grows in its stead.
func align(recs []record, at, n int64) []record {
	all := make([]record, 0, len(recs))
	for _, r := range recs {
		if r.mode&typeMask == typeRegular && r.size > 0 {
			short := -(at + r.headSpace()) & (n - 1)
			if int64(r.nameSize())+short <= maxName {
				r.zeros = uint32(short)
			} else {
				f := filler(recs[0], short, n)
				all = append(all, f)
				at += f.space()
			}
		}
		all = append(all, r)
		at += r.space()
	}
	return all
}

// filler repeats the root directory in a number of bytes that brings what
// follows short bytes closer to a multiple of n.
func filler(root record, short, n int64) record {
	f := record{header: root.header, entry: Entry{Path: rootPath, Mode: fs.ModeDir}}
	for short < f.space() {
		short += n
	}
	f.zeros = uint32(short - f.space())
	return f
}

// frameSize is the least that is compressed by itself: with zstd it makes 734 MB
// of modules 1.3 % larger than one frame would (2 MiB 2.1 %, 8 MiB 0.5 %), with
// gzip not at all. maxHeld is the most that is held in memory, once for each
// processor.
const (
	frameSize = 4 << 20
	maxHeld   = 4 * frameSize
)

// A frame is a run of entries that is compressed by itself: a gzip member, a
// zstd frame, an xz stream. The kernel fails where one ends inside an entry
// ("junk at the end of compressed archive").
type frame struct {
	recs []record
	size int64 // bytes before compression
	last bool  // the trailer follows
}

// frames cuts the segment. Where depends on nothing but the entries' sizes.
func (s *segment) frames() []frame {
	var all []frame
	begin, size := 0, int64(0)
	for i := range s.recs {
		size += s.recs[i].space()
		if size >= frameSize && s.compression.Method != None {
			all = append(all, frame{recs: s.recs[begin : i+1], size: size})
			begin, size = i+1, 0
		}
	}
	last := lastHeader()
	size += last.space()
	if size < frameSize && len(all) > 0 { // too little: give it to the one before
		before := all[len(all)-1]
		begin -= len(before.recs)
		size += before.size
		all = all[:len(all)-1]
	}
	return append(all, frame{recs: s.recs[begin:], size: size, last: true})
}
