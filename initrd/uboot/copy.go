package uboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
)

// copySection copies all of r, from its start and wherever it stands.
func copySection(ctx context.Context, w io.Writer, r *io.SectionReader) error {
	n, err := io.Copy(w, contextReader{ctx, io.NewSectionReader(r, 0, r.Size())})
	if err == nil && n < r.Size() {
		err = fmt.Errorf("has %d bytes, not the %d it had before", n, r.Size())
	}
	return err
}

// copyAgain copies what has been read before, and whose sum stands already in
// what was written: it must not have become another.
func copyAgain(ctx context.Context, w io.Writer, r *io.SectionReader, h hash.Hash, sum []byte) error {
	if err := copySection(ctx, io.MultiWriter(w, h), r); err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), sum) {
		return errors.New("has changed while it was read")
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
