package initrd

import (
	"bufio"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/kstage/kstage/internal/atomicfile"
)

// Options say how an image is written. The zero Options write an uncompressed
// image whose files are from 1970.
type Options struct {
	Compression Compression

	// Early, if set, becomes a plain segment before all else: what has to be
	// found in the image without unpacking it. Entries of the tree replace its
	// own.
	Early *Tree

	// OneSegment compresses the whole tree. Otherwise the files that are
	// compressed already, going by their names (.xz, .zst, .gz and so on),
	// stand with their directories in a plain segment of their own before the
	// compressed one. They would hardly become smaller, and the kernel would
	// have to unpack them twice.
	OneSegment bool

	// Align, if not 0, is a power of two from 4 to 4096. In plain segments the
	// data of each file begins at a multiple of it, counted from the start of
	// the image.
	Align int

	// ModTime is the modification time of every entry, in seconds since 1970.
	// The format ends in 2106.
	ModTime uint32

	// Progress, if set, is called after each entry with the number of entries
	// written.
	Progress func(done, total int)
}

// Summary tells what was written.
type Summary struct {
	Entries    int   // entries of all segments, each root among them and the trailers not
	Raw        int64 // bytes before compression
	Compressed int64 // bytes written
	Segments   []Segment
}

// bufferSize is at most what contents are copied and output is written in.
const bufferSize = 1 << 20

// Write writes t to w as an image of one or more segments. It does not check
// what arrives: [WriteFile] does.
//
// A compressed segment is cut between entries into frames of 4 MiB or more
// before compression, which are compressed on all processors at once. Memory is
// bounded: for each processor at most 16 MiB of a frame, as much for what
// becomes of it, and what the compressor takes. A longer frame, which a large
// file makes, is compressed as it is read.
//
// A file that cannot be opened, or whose content has not the size its entry
// says, is an error that names it. So is the end of ctx, noticed between
// entries and while one is read. After an error w holds a part of an image.
func Write(ctx context.Context, w io.Writer, t *Tree, o Options) (Summary, error) {
	image, err := write(ctx, w, t, o)
	return image.total, err
}

// WriteFile makes or replaces the image at path. It appears there only when it
// is complete, has been read back and compared, entry by entry, with what was
// meant, and lies on the disk. After an error, the end of ctx included, nothing
// is left behind and an older file at path stays as it was.
//
// The file's mode is 0666 less the umask. A symbolic link at path is replaced;
// a device or a pipe is refused.
func WriteFile(ctx context.Context, path string, t *Tree, o Options) (Summary, error) {
	var sum Summary
	err := atomicfile.Write(path, 0, func(f *os.File) error {
		image, err := write(ctx, f, t, o)
		if err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		sum = image.total
		return image.readBack(ctx, f)
	})
	if err != nil {
		return Summary{}, err
	}
	return sum, nil
}

func write(ctx context.Context, w io.Writer, t *Tree, o Options) (written, error) {
	segs, err := layout(t, o)
	if err != nil {
		return written{}, err
	}
	var sum Summary
	for i := range segs {
		sum.Entries += len(segs[i].recs)
		sum.Raw += archiveSize(segs[i].recs)
	}
	buffer := int(min(bufferSize, sum.Raw))
	out := bufio.NewWriterSize(w, buffer)
	e := newEncoder(ctx, out, make([]byte, buffer))
	e.total, e.progress = sum.Entries, o.Progress
	for i := range segs {
		s, err := e.segment(&segs[i])
		if err != nil {
			return written{}, err
		}
		sum.Segments = append(sum.Segments, s)
	}
	if err := out.Flush(); err != nil {
		return written{}, fmt.Errorf("image: %w", reason(err))
	}
	sum.Compressed = e.out.n
	return written{segs, e.out.crc.Sum32(), sum}, nil
}

// copier copies contents into an archive, all through one buffer.
type copier struct {
	ctx context.Context
	to  *newcWriter
	buf []byte
}

// content copies the data of r and returns its CRC-32C.
func (c *copier) content(r *record) (sum uint32, err error) {
	if r.mode&typeMask == typeSymlink {
		return c.copy(strings.NewReader(r.entry.Target), r.size)
	}
	src, err := r.entry.Open()
	if err != nil {
		return 0, reason(err)
	}
	defer func() {
		if cerr := src.Close(); err == nil && cerr != nil {
			err = reason(cerr)
		}
	}()
	return c.copy(src, r.size)
}

// copy copies all of src, which must be exactly size bytes: a file that has
// shrunk would shift whatever follows it, one that has grown would be cut.
func (c *copier) copy(src io.Reader, size uint32) (sum uint32, err error) {
	in := contextReader{c.ctx, src}
	hash := crc32.New(castagnoli)
	n, err := io.CopyBuffer(io.MultiWriter(c.to, hash), io.LimitReader(in, int64(size)), c.buf)
	if err != nil {
		return 0, err
	}
	if n < int64(size) {
		return 0, fmt.Errorf("has %d bytes, not the %d it had when the tree was made", n, size)
	}
	switch _, err := io.ReadFull(in, c.buf[:1]); err {
	case io.EOF:
		return hash.Sum32(), nil
	case nil:
		return 0, fmt.Errorf("has more than the %d bytes it had when the tree was made", size)
	default:
		return 0, err
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read: %w", reason(err))
	}
	return n, err
}

// counter counts and sums what is written.
type counter struct {
	w   io.Writer
	n   int64
	crc hash.Hash32
}

func (c *counter) Write(p []byte) (int, error) {
	k, err := c.w.Write(p)
	c.n += int64(k)
	c.crc.Write(p[:k])
	return k, err
}
