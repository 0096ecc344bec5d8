package initrd

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
)

// A written image is what it was made from and what came of it.
type written struct {
	segs  []segment
	crc   uint32 // CRC-32C of the image
	total Summary
}

// readBack reads an image as the kernel would and compares it with what was
// written: every header, the sum of every content, the segments, and that
// nothing follows. The cpio library has no part in it.
func (w *written) readBack(ctx context.Context, image io.Reader) error {
	all := crc32.New(castagnoli)
	b := backReader{
		r:   NewReader(io.TeeReader(contextReader{ctx, image}, all)),
		crc: crc32.New(castagnoli),
		buf: make([]byte, 64<<10),
	}
	for i := range w.segs {
		if err := b.segment(&w.segs[i], i, w.total.Segments[i].Offset); err != nil {
			return fmt.Errorf("read back: segment %d: %w", i+1, err)
		}
	}
	switch h, err := b.r.Next(); {
	case err == nil:
		return fmt.Errorf("read back: behind the last entry there is another one, %s", h.Name)
	case err != io.EOF:
		return fmt.Errorf("read back: behind the last entry: %w", err)
	case !slices.Equal(b.r.Segments(), w.total.Segments):
		return errors.New("read back: the segments are not those that were meant")
	case all.Sum32() != w.crc:
		return errors.New("read back: the image is not what was written")
	}
	return nil
}

// backReader compares entries.
type backReader struct {
	r   *Reader
	crc hash.Hash32
	buf []byte
}

// segment compares a segment that begins at an offset of the image.
func (b *backReader) segment(s *segment, index int, at int64) error {
	if s.compression.Method != None {
		at = 0 // offsets are in the decompressed bytes
	}
	for i := range s.recs {
		r := &s.recs[i]
		want := headerOf(&r.header, r.nameSize())
		want.Name, want.Segment, want.Archive, want.Offset = r.name, index, index, at
		if err := b.entry(want, r.sum); err != nil {
			return fmt.Errorf("entry %d, %s: %w", i+1, r.name, err)
		}
		at += r.space()
	}
	return nil
}

// entry compares the next entry with what was meant.
func (b *backReader) entry(want Header, sum uint32) error {
	got, err := b.r.Next()
	if err == io.EOF {
		return errors.New("the image ends before it")
	}
	if err != nil {
		return err
	}
	if *got != want {
		return errors.New("the header differs from what was meant")
	}
	b.crc.Reset()
	if _, err := io.CopyBuffer(b.crc, b.r, b.buf); err != nil {
		return err
	}
	if b.crc.Sum32() != sum {
		return errors.New("the content differs from what was written")
	}
	return nil
}
