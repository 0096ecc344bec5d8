package initrd

import "fmt"

// record is one entry of an archive as it is meant to be written: the header
// and, once the content has been copied, its CRC-32C.
type record struct {
	header
	entry Entry
	sum   uint32
}

// hasContent says whether there is anything to copy, or to look at: a file that
// is meant to be empty may have grown since.
func (r *record) hasContent() bool {
	return r.size > 0 || r.mode&typeMask == typeRegular && r.entry.Size == 0 && r.entry.Open != nil
}

// plan lays out the archive: order, file numbers, links and sizes, all of it
// known before the first byte is written. The files are numbered from *numbers
// + 1 on.
func plan(t *Tree, mtime uint32, numbers *uint32) ([]record, error) {
	recs := make([]record, 0, t.Len())
	links := make(map[uint64][]int) // Entry.Link to indexes in recs
	for e := range t.All() {
		r := record{header: meant(&e, mtime), entry: e}
		if names := links[e.Link]; len(names) > 0 {
			first := &recs[names[0]]
			if err := agree(first, &r); err != nil {
				return nil, err
			}
			r.ino = first.ino
		} else {
			*numbers++
			r.ino = *numbers
		}
		if e.Link != 0 {
			links[e.Link] = append(links[e.Link], len(recs))
		}
		recs = append(recs, r)
	}
	for _, names := range links {
		link(recs, names)
	}
	return recs, nil
}

// meant returns the header of an entry that is nobody's link, without its
// number.
func meant(e *Entry, mtime uint32) header {
	h := header{
		name:  e.Path,
		mode:  unixMode(e.Mode),
		uid:   e.UID,
		gid:   e.GID,
		nlink: 1,
		mtime: mtime,
	}
	switch h.mode & typeMask {
	case typeDir:
		h.nlink = 2
	case typeRegular:
		h.size = uint32(e.Size)
	case typeSymlink:
		h.size = uint32(len(e.Target))
	case typeChar, typeBlock:
		h.rdevMajor, h.rdevMinor = e.Major, e.Minor
	}
	return h
}

// link makes the records at the given indexes names of one file. The data goes
// on the last: the kernel takes it from any, other readers from there.
func link(recs []record, names []int) {
	for _, i := range names {
		recs[i].nlink = uint32(len(names))
	}
	for _, i := range names[:len(names)-1] {
		recs[i].size = 0
	}
}

// agree makes sure that two names can be one file.
func agree(a, b *record) error {
	if a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.size != b.size {
		return fmt.Errorf("tree: %s: is a hard link of %s but differs in mode, owner or size", b.name, a.name)
	}
	return nil
}

// archiveSize returns the length of the archive in bytes, trailer included.
func archiveSize(recs []record) int64 {
	last := lastHeader()
	n := last.space()
	for i := range recs {
		n += recs[i].space()
	}
	return n
}
