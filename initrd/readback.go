package initrd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// readBack reads an image and compares it with the records it was written
// from: every header, the sum of every content, the trailer, and that nothing
// follows. The cpio library has no part in it.
func readBack(ctx context.Context, image io.Reader, recs []record, c Compression) error {
	br := bufio.NewReaderSize(contextReader{ctx, image}, 64<<10)
	var plain io.Reader = br
	if c.Method != None {
		z, err := decoder(c.Method, br)
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		defer z.Close() // it has only been read from
		plain = z
	}
	b := backReader{packed: br, r: newReader(plain), buf: make([]byte, 64<<10)}
	for i := range recs {
		if err := b.entry(&recs[i]); err != nil {
			return fmt.Errorf("read back: entry %d, %s: %w", i+1, recs[i].name, err)
		}
	}
	if err := b.end(); err != nil {
		return fmt.Errorf("read back: after the last entry: %w", err)
	}
	return nil
}

type backReader struct {
	packed *bufio.Reader
	r      *reader
	buf    []byte
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
	if _, err := b.packed.ReadByte(); err == nil {
		return errors.New("bytes follow the compressed data")
	} else if err != io.EOF {
		return err
	}
	return nil
}
