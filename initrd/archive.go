package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// AddArchive adds what a tar archive or an image holds, whichever r is, plain or
// compressed: see [Tree.AddTar].
func (t *Tree) AddArchive(r io.Reader, spool Spool) ([]Problem, error) {
	var seen bytes.Buffer
	head := firstBlock(io.TeeReader(r, &seen))
	whole := io.MultiReader(&seen, r)
	if isTar(head) {
		return t.AddTar(whole, spool)
	}
	return nil, errors.New("is neither a tar archive nor an image")
}

// firstBlock unpacks as much as it takes to know a tar. What is wrong with r is
// told by who reads it all.
func firstBlock(r io.Reader) []byte {
	z, err := unpackAll(bufio.NewReaderSize(r, 4096))
	if err != nil {
		return nil
	}
	defer z.Close() // it has only been read from
	head := make([]byte, tarBlock)
	n, _ := io.ReadFull(z, head)
	return head[:n]
}
