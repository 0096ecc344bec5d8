package initrd

import (
	"bufio"
	"context"
	"fmt"
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

	// ModTime is the modification time of every entry, in seconds since 1970.
	// The format ends in 2106.
	ModTime uint32

	// Progress, if set, is called after each entry with the number of entries
	// written.
	Progress func(done, total int)
}

// Summary tells what was written.
type Summary struct {
	Entries    int   // entries, the root among them and the trailer not
	Raw        int64 // bytes before compression
	Compressed int64 // bytes written
}

// bufferSize is at most what contents are copied and output is written in.
const bufferSize = 1 << 20

// Write writes t to w as one archive in one compressed stream. It does not
// check what arrives: [WriteFile] does.
//
// A file that cannot be opened, or whose content has not the size its entry
// says, is an error that names it. So is the end of ctx, noticed between
// entries and while one is read. After an error w holds a part of an image.
func Write(ctx context.Context, w io.Writer, t *Tree, o Options) (Summary, error) {
	_, sum, err := write(ctx, w, t, o)
	return sum, err
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
		recs, s, err := write(ctx, f, t, o)
		if err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		sum = s
		return readBack(ctx, f, recs, o.Compression)
	})
	if err != nil {
		return Summary{}, err
	}
	return sum, nil
}

func write(ctx context.Context, w io.Writer, t *Tree, o Options) ([]record, Summary, error) {
	recs, err := plan(t, o.ModTime)
	if err != nil {
		return nil, Summary{}, err
	}
	sum := Summary{Entries: len(recs), Raw: archiveSize(recs)}
	count := counter{w: w}
	buffer := int(min(bufferSize, sum.Raw))
	out := bufio.NewWriterSize(&count, buffer)
	z, err := o.Compression.writer(out, sum.Raw)
	if err != nil {
		return nil, Summary{}, err
	}
	if err := encode(ctx, z, recs, make([]byte, buffer), o.Progress); err != nil {
		return nil, Summary{}, err
	}
	if err := z.Close(); err != nil {
		return nil, Summary{}, fmt.Errorf("image: %w", reason(err))
	}
	out.Write(o.Compression.Method.tail())
	if err := out.Flush(); err != nil {
		return nil, Summary{}, fmt.Errorf("image: %w", reason(err))
	}
	sum.Compressed = count.n
	return recs, sum, nil
}

// encode writes the archive, copying through buf, and sets the records' sums.
func encode(ctx context.Context, w io.Writer, recs []record, buf []byte, progress func(done, total int)) error {
	n := newNewcWriter(w)
	c := copier{ctx: ctx, to: n, buf: buf}
	for i := range recs {
		r := &recs[i]
		err := ctx.Err()
		if err == nil {
			err = n.next(r.header)
		}
		if err == nil && r.hasContent() {
			r.sum, err = c.content(r)
		}
		if n.out.err != nil { // which is not the entry's fault
			return fmt.Errorf("image: %w", reason(n.out.err))
		}
		if err != nil {
			return fmt.Errorf("image: %s: %w", r.name, err)
		}
		if progress != nil {
			progress(i+1, len(recs))
		}
	}
	if err := n.close(); err != nil {
		return fmt.Errorf("image: %w", reason(err))
	}
	return nil
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

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	k, err := c.w.Write(p)
	c.n += int64(k)
	return k, err
}
