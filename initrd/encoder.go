package initrd

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
)

// encoder writes the segments of an image.
type encoder struct {
	ctx      context.Context
	out      *counter
	newc     *newcWriter
	content  copier
	queue    queue
	progress func(done, total int)

	done, total int // entries
}

// newEncoder copies contents through buf.
func newEncoder(ctx context.Context, out io.Writer, buf []byte) *encoder {
	e := &encoder{ctx: ctx, out: &counter{w: out, crc: crc32.New(castagnoli)}}
	e.content = copier{ctx: ctx, buf: buf}
	e.queue = queue{out: e.out, most: runtime.GOMAXPROCS(0)}
	return e
}

// segment writes a segment.
func (e *encoder) segment(s *segment) (Segment, error) {
	defer e.queue.wait()
	begin := e.out.n
	e.newc = newNewcWriter(nil)
	e.content.to = e.newc
	frames := s.frames()
	for i := range frames {
		if err := e.frame(&frames[i], s.compression); err != nil {
			return Segment{}, err
		}
	}
	err := e.queue.drain(0)
	told := Segment{Method: s.compression.Method, Offset: begin, Unpacked: archiveSize(s.recs), Entries: len(s.recs)}
	closing, empty, zeros := s.compression.ending(e.out.n)
	if err == nil {
		_, err = e.out.Write(closing)
	}
	told.Size = e.out.n - begin
	if err == nil {
		_, err = e.out.Write(make([]byte, zeros))
	}
	if err != nil {
		return Segment{}, fmt.Errorf("image: %w", reason(err))
	}
	switch told.Method {
	case None:
	case LZ4: // runs on through the magic of each
		told.Frames = 1
	default:
		told.Frames = len(frames) + empty
	}
	return told, nil
}

// frame writes a frame, or has it compressed and written later. A long one must
// not lie in memory: the frames before are waited for, and it is compressed as
// it is read.
func (e *encoder) frame(f *frame, c Compression) error {
	if c.Method != None && f.size <= maxHeld {
		j, err := e.queue.next()
		if err != nil {
			return fmt.Errorf("image: %w", reason(err))
		}
		j.raw.Grow(int(f.size))
		if err := e.records(&j.raw, f); err != nil {
			return err
		}
		e.queue.start(j, c)
		return nil
	}
	if err := e.queue.drain(0); err != nil {
		return fmt.Errorf("image: %w", reason(err))
	}
	z, err := c.writer(e.out, f.size)
	if err != nil {
		return err
	}
	if err := e.records(z, f); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("image: %w", reason(err))
	}
	return nil
}

// records writes the entries of f, and the trailer if it is the last.
func (e *encoder) records(w io.Writer, f *frame) error {
	e.newc.to(w)
	for i := range f.recs {
		if err := e.record(&f.recs[i]); err != nil {
			return err
		}
		e.done++
		if e.progress != nil {
			e.progress(e.done, e.total)
		}
	}
	end := e.newc.flush
	if f.last {
		end = e.newc.close
	}
	if err := end(); err != nil {
		return fmt.Errorf("image: %w", reason(err))
	}
	return nil
}

// record writes one entry and keeps the sum of its content.
func (e *encoder) record(r *record) error {
	err := e.ctx.Err()
	if err == nil {
		err = e.newc.next(r.header)
	}
	if err == nil && r.hasContent() {
		r.sum, err = e.content.content(r)
	}
	if out := e.newc.out.err; out != nil { // which is not the entry's fault
		return fmt.Errorf("image: %w", reason(out))
	}
	if err != nil {
		return fmt.Errorf("image: %s: %w", r.name, err)
	}
	return nil
}
