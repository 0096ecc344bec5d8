package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// AddArchive adds what a tar archive or an image holds, whichever r is, plain or
// compressed: see [Tree.AddTar] and [Tree.AddImage].
func (t *Tree) AddArchive(r io.Reader, spool Spool) ([]Problem, error) {
	var seen bytes.Buffer
	head := firstBlock(io.TeeReader(r, &seen))
	whole := io.MultiReader(&seen, r)
	switch {
	case seen.Len() == 0:
		if _, err := r.Read(make([]byte, 1)); err != nil && err != io.EOF {
			return nil, err
		}
		return nil, errors.New("is empty")
	case isTar(head):
		return t.AddTar(whole, spool)
	case bytes.HasPrefix(head, []byte(magicNewc[:5])) || len(bytes.Trim(head, "\x00")) == 0:
		return t.AddImage(whole, spool)
	}
	problems, err := t.AddImage(whole, spool)
	if err != nil { // which can say no more than what the first bytes are not
		err = fmt.Errorf("is neither a tar archive nor an image: %w", err)
	}
	return problems, err
}

// sniffed is at most how much of a file is read, and kept, to know what it is: a
// file can be long and unpack to nothing.
const sniffed = 32 << 20

// AddImage adds the tree that an image unpacks to, as [ReadTree] has it.
func (t *Tree) AddImage(r io.Reader, spool Spool) ([]Problem, error) {
	image, problems, err := ReadTree(r, spool)
	if err != nil {
		return problems, err
	}
	return problems, t.AddTree(rootPath, image)
}

// firstBlock unpacks as much as it takes to know a tar. What is wrong with r is
// told by who reads it all.
func firstBlock(r io.Reader) []byte {
	z, err := unpacked(bufio.NewReaderSize(io.LimitReader(r, sniffed), 4096))
	if err != nil {
		return nil
	}
	defer z.Close() // it has only been read from
	head := make([]byte, tarBlock)
	n, _ := io.ReadFull(z, head)
	return head[:n]
}
