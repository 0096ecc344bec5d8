package initrd

import (
	"bytes"
	"fmt"
	"io"
)

// A Reader reads an image as a stream, entry by entry, the way the kernel does
// (init/initramfs.c, unpack_to_rootfs):
//
//	image     segments, with zero bytes between them
//	segment   '0' at an offset that is a multiple of 4: entries as they stand;
//	          the magic of a compression: entries, compressed
//	entries   newc entries, with zero bytes up to a multiple of 4 between them
//
// It gives every entry there is, also those that the kernel would leave out, and
// fails where the kernel stops; and it fails on an image that is cut off, which
// the kernel takes for complete. It takes little memory whatever the input
// claims.
type Reader struct {
	// MaxContents is how many bytes of contents [ReadImage] takes, in all files
	// together, replaced ones included. 0 is 64 GiB.
	MaxContents int64

	raw  *source       // the image
	in   *source       // what entries are read from: raw or the decompressed bytes
	body *decompressor // behind in; nil in a plain segment
	segs []Segment

	watch *verifier // is told of frames and trailers; nil unless in Verify

	cur     Header // the current entry's
	left    int64  // bytes of its data still to come
	pad     int64  // bytes of padding after them
	sum     uint32 // of its data bytes so far
	archive int    // TRAILER!!! entries so far
	ended   bool   // the last entry was one
	begun   bool   // there has been an entry
	err     error  // the last word

	fixed [headerLen]byte
	name  [maxName]byte
}

// A Segment is a part of an image that is compressed in one way, or not at all.
// Compressed data of one method that goes on after the end of a frame is one
// segment as long as no TRAILER!!! came between.
type Segment struct {
	Method   Method
	Offset   int64 // of its first byte in the image
	Size     int64 // its bytes in the image, zero bytes after it not counted
	Unpacked int64 // its bytes when decompressed
	Frames   int   // compressed frames; 0 in a plain segment
	Entries  int   // the TRAILER!!! not among them
}

// A Header is what an image says of one entry, unchecked.
type Header struct {
	Name     string // up to its first zero byte; empty when NameSize is 0 or above 4096
	NameSize uint32 // as declared, with the zero byte
	Ino      uint32
	Mode     uint32 // type, permissions and special bits as in stat(2)
	UID, GID uint32
	Links    uint32 // names of this file
	ModTime  uint32 // seconds since 1970
	Size     uint32 // bytes of data; of a symbolic link the target is the data

	DevMajor, DevMinor   uint32 // with Ino: which file this is
	RdevMajor, RdevMinor uint32 // of a device node: which device

	Summed bool   // magic 070702: Sum is the sum of the data's bytes
	Sum    uint32 // without Summed nobody looks at it

	Segment int   // index in Reader.Segments
	Offset  int64 // of the entry: in the image, or in the decompressed bytes of its segment
	Archive int   // hard links lead only to entries of the same archive
}

// NewReader returns a Reader of the image that comes from r.
func NewReader(r io.Reader) *Reader {
	raw := newSource(r)
	return &Reader{raw: raw, in: raw, ended: true}
}

// Next goes on to the next entry, past what is left of the current one's data.
// At the end of the image it returns io.EOF. Errors name segment and offset.
// The Header is good until the next call.
func (r *Reader) Next() (*Header, error) {
	if r.err == nil {
		if r.err = r.finish(); r.err == nil {
			r.err = r.advance()
		}
	}
	if r.err != nil {
		r.close()
		return nil, r.err
	}
	return &r.cur, nil
}

// Segments gives the segments begun so far.
func (r *Reader) Segments() []Segment { return r.segs }

// advance looks for the next entry, through ends of archives and segments.
func (r *Reader) advance() error {
	for {
		begun, err := r.findHeader()
		if err != nil {
			return err
		}
		if !begun {
			continue
		}
		if err := r.header(); err != nil {
			return err
		}
		r.begun = true
		if !r.cur.isTrailer() {
			r.segment().Entries++
			return nil
		}
		r.archive++
		r.ended = true
		r.watch.trailer(&r.cur)
		if err := r.finish(); err != nil {
			return err
		}
	}
}

// findHeader goes to the next byte that is not zero and says whether a header
// begins there. If not, a compressed frame has begun or ended. Multiples of 4
// count from the beginning of the image or frame.
func (r *Reader) findHeader() (bool, error) {
	if r.body != nil && !r.begun {
		return r.firstHeader()
	}
	from := r.in.offset()
	c, err := r.in.skipZeros()
	at := r.in.offset()
	aligned := (at-r.in.base)%4 == 0
	switch {
	case err == io.EOF && r.body == nil:
		return false, io.EOF
	case err == io.EOF:
		return false, r.endFrame()
	case err != nil:
		return false, r.failed(at, err)
	case c == '0' && aligned:
		r.beginPlain(at)
		return true, nil
	case !aligned && at > from && r.afterEntry():
		return false, r.stop(at, RulePadding, "the zero bytes before it do not end at a multiple of 4", "broken padding")
	case r.body != nil:
		return false, r.stop(at, RuleJunk, "there is something else than an entry", "junk within compressed archive")
	case c == '0':
		return false, r.stop(at, RuleAlignment, "a plain archive must begin at a multiple of 4", "invalid magic at start of compressed archive")
	}
	return false, r.beginFrame(at)
}

// firstHeader is where the kernel has not seen an entry yet: a frame must begin
// with one, not even zero bytes may come before.
func (r *Reader) firstHeader() (bool, error) {
	_, err := r.in.br.Peek(1)
	switch {
	case err == io.EOF:
		return false, r.stop(r.in.offset(), RuleEmptyFrame, "there is nothing in the first compressed frame", frameEnd)
	case err != nil:
		return false, r.failed(r.in.offset(), err)
	}
	r.beginPlain(r.in.offset())
	return true, nil
}

// frameEnd is what the kernel says when a frame ends anywhere but between two entries.
const frameEnd = "junk at the end of compressed archive"

// afterEntry says whether the bytes before are entries, in a frame or plain.
func (r *Reader) afterEntry() bool {
	return r.body != nil || len(r.segs) > 0 && r.segment().Method == None
}

func (r *Reader) segment() *Segment { return &r.segs[len(r.segs)-1] }

// beginPlain makes sure that there is a plain segment to count the entry in,
// unless it is in a compressed one.
func (r *Reader) beginPlain(at int64) {
	if r.body != nil {
		r.ended = false
		return
	}
	if r.ended || r.segment().Method != None {
		r.segs = append(r.segs, Segment{Method: None, Offset: at})
	}
	r.ended = false
}

// beginFrame begins to decompress.
func (r *Reader) beginFrame(at int64) error {
	head, err := r.raw.br.Peek(magicLen)
	if err != nil && err != io.EOF {
		return r.failed(at, err)
	}
	method, known := DetectMethod(head)
	if !known {
		rule, text := unknownMagic(head)
		return r.stop(at, rule, text, "invalid magic at start of compressed archive")
	}
	if r.ended || r.segment().Method != method {
		r.segs = append(r.segs, Segment{Method: method, Offset: at})
		r.ended = false
	}
	r.segment().Frames++
	if err := r.watch.method(method, at); err != nil {
		return err
	}
	body, err := decoder(method, r.raw.br)
	if err != nil {
		return r.failed(at, err)
	}
	if err := r.watch.frameBegins(&body.facts, at); err != nil {
		_ = body.Close() // has only been read from
		return err
	}
	r.body = body
	r.in = newSource(r.body)
	r.in.base = r.segment().Unpacked
	return nil
}

// endFrame goes back to the image behind a frame.
func (r *Reader) endFrame() error {
	s := r.segment()
	s.Unpacked = r.in.offset()
	s.Size = r.raw.offset() - s.Offset
	facts := r.body.facts
	r.close()
	r.in = r.raw
	r.mergeEmpty()
	return r.watch.frameEnds(&facts)
}

// mergeEmpty counts frames without content, which fill an image up to a multiple
// of 4, with the segment before.
func (r *Reader) mergeEmpty() {
	last := len(r.segs) - 1
	s := r.segment()
	if last == 0 || s.Unpacked > 0 || r.segs[last-1].Method != s.Method {
		return
	}
	r.segs = r.segs[:last]
	before := r.segment()
	before.Frames += s.Frames
	before.Size = s.Offset + s.Size - before.Offset
	r.ended = true
}

func (r *Reader) close() {
	if r.body != nil {
		_ = r.body.Close() // has only been read from
		r.body = nil
	}
}

// header reads one.
func (r *Reader) header() error {
	at := r.in.offset()
	r.cur = Header{Segment: len(r.segs) - 1, Offset: at, Archive: r.archive}
	if err := r.in.full(r.fixed[:]); err != nil {
		return r.within(err, inHeader)
	}
	switch magic := string(r.fixed[:magicLen]); magic {
	case magicNewc, magicCRC:
	case "070707":
		return r.stop(at, RuleMagic, "bad magic \"070707\": the archive is in cpio's old format, not newc", "incorrect cpio method used: use -H newc option")
	default:
		return r.stop(at, RuleMagic, fmt.Sprintf("bad magic %q", magic), "no cpio magic")
	}
	h, nameSize, err := parseHeader(&r.fixed)
	if err != nil {
		return r.stop(at, RuleDigits, err.Error(), "damaged header")
	}
	r.cur = headerOf(&h, nameSize)
	r.cur.Segment, r.cur.Offset, r.cur.Archive = len(r.segs)-1, at, r.archive
	r.sum = 0
	if err := r.readName(int64(nameSize)); err != nil {
		return err
	}
	r.left, r.pad = int64(h.size), padding(int64(h.size))
	return nil
}

// readName reads the name with its padding. One that the kernel does not look
// at is passed over.
func (r *Reader) readName(size int64) error {
	space := size + padding(headerLen+size)
	if size == 0 || size > maxName {
		return r.within(r.in.skip(space), inHeader)
	}
	name := r.name[:size]
	if err := r.in.full(name); err != nil {
		return r.within(err, inHeader)
	}
	if name[size-1] != 0 && r.cur.named() {
		return r.stop(r.cur.Offset, RuleName, fmt.Sprintf("the name %.40q does not end in a zero byte", name), "malformed archive")
	}
	r.cur.Name = nameOf(name)
	return r.within(r.in.skip(space-size), inHeader)
}

// nameOf cuts a name at its first zero byte, as the kernel does.
func nameOf(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

func headerOf(h *header, nameSize uint32) Header {
	return Header{
		NameSize: nameSize, Ino: h.ino, Mode: h.mode, UID: h.uid, GID: h.gid, Links: h.nlink, ModTime: h.mtime, Size: h.size,
		DevMajor: h.devMajor, DevMinor: h.devMinor, RdevMajor: h.rdevMajor, RdevMinor: h.rdevMinor,
		Summed: h.crc, Sum: h.check,
	}
}

// named says whether the kernel looks at the entry's name: it passes over
// everything with data but files and links (do_header).
func (h *Header) named() bool {
	typ := h.Mode & typeMask
	return typ == typeRegular || typ == typeSymlink || h.Size == 0
}

func (h *Header) isTrailer() bool {
	return h.Name == trailer && h.named() && h.Mode&typeMask != typeSymlink
}

// Read reads the data of the current entry.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	k, err := r.in.br.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(k)
	if r.cur.Summed {
		for _, b := range p[:k] {
			r.sum += uint32(b)
		}
	}
	if err != nil {
		r.err = r.within(cutOff(err), inData)
	}
	return k, r.err
}

// finish passes over what is left of the current entry and compares its sum.
func (r *Reader) finish() error {
	if r.left > 0 && !r.cur.Summed {
		n := r.left
		r.left = 0
		if err := r.in.skip(n); err != nil {
			return r.within(err, inData)
		}
	}
	if r.left > 0 {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
	if r.cur.Summed && r.cur.Mode&typeMask == typeRegular && r.sum != r.cur.Sum {
		return r.stopEntry(RuleSum, fmt.Sprintf("the sum of the data is %08x, the header says %08x", r.sum, r.cur.Sum), "bad data checksum")
	}
	if err := r.in.skip(r.pad); err != nil {
		return r.within(err, inPadding)
	}
	r.pad = 0
	if r.body == nil && len(r.segs) > 0 && r.in == r.raw {
		s := r.segment()
		s.Size = r.raw.offset() - s.Offset
		s.Unpacked = s.Size
	}
	return nil
}
