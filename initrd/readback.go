package initrd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// readBack reads an image and compares it with the segments it was written
// from: every header, the sum of every content, the trailers, and that nothing
// follows. The cpio library has no part in it.
func readBack(ctx context.Context, image io.Reader, segs []segment, sum Summary) error {
	in := bufio.NewReaderSize(contextReader{ctx, image}, 64<<10)
	for i := range segs {
		part := io.LimitReader(in, sum.Segments[i].Compressed)
		if err := segs[i].readBack(part); err != nil {
			return err
		}
	}
	last := len(segs) - 1
	want := segs[last].compression.filling(sum.Segments[last].Compressed)
	rest, err := io.ReadAll(io.LimitReader(in, maxFilling+1))
	switch {
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case !bytes.Equal(rest, want):
		return errors.New("read back: the image does not end as it should")
	}
	return nil
}

func (s *segment) readBack(r io.Reader) error {
	z, err := s.compression.reader(r)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer z.Close() // it has only been read from
	b := backReader{r: newReader(z), buf: make([]byte, 64<<10)}
	for i := range s.recs {
		if err := b.entry(&s.recs[i]); err != nil {
			return fmt.Errorf("read back: entry %d, %s: %w", i+1, s.recs[i].name, err)
		}
	}
	if err := b.end(); err != nil {
		return fmt.Errorf("read back: after the last entry: %w", err)
	}
	return nil
}

type backReader struct {
	r   *reader
	buf []byte
}

// entry compares the next entry with the record it was written from.
func (b *backReader) entry(want *record) error {
	got, err := b.r.next()
	if err == io.EOF {
		return errors.New("the image ends before it")
	}
	if err != nil {
		return err
	}
	if *got != want.header {
		return errors.New("the header differs from what was meant")
	}
	hash := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(hash, b.r, b.buf); err != nil {
		return err
	}
	if hash.Sum32() != want.sum {
		return errors.New("the content differs from what was written")
	}
	return nil
}

// end wants the trailer and the end of the image. Reading to the end also has
// the decompressor compare its own checksum.
func (b *backReader) end() error {
	switch h, err := b.r.next(); {
	case err == nil:
		return fmt.Errorf("there is another one, %s", h.name)
	case err != io.EOF:
		return err
	case b.r.cur != lastHeader():
		return errors.New("the trailer differs from what was meant")
	}
	switch _, err := b.r.br.ReadByte(); {
	case err == nil:
		return errors.New("bytes follow the trailer")
	case err != io.EOF:
		return err
	}
	return nil
}
