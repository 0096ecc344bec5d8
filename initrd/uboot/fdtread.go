package uboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits on trees that are read. Those of distributions, with hundreds of
// device trees, stay far below.
const (
	maxTokens = 1 << 20
	maxDepth  = 16
	maxName   = 255      // of a node
	maxNames  = 64 << 10 // bytes of the strings block
)

// A walker goes through the struct block of a flattened device tree. It reads
// what it needs and no values, so that these may be of any size.
type walker struct {
	r     io.ReaderAt
	off   int64 // of the next token
	end   int64 // of the struct block
	total int64 // size of the tree
	names []byte
	path  []string // of the current node, without the root
	depth int      // of the current node: 0 outside of the root
}

// property is one that the walker has met.
type property struct {
	path      []string
	name      string
	off, size int64 // of the value
}

// newWalker reads the header, for which see fdt.go.
func newWalker(r io.ReaderAt) (*walker, error) {
	w := &walker{r: r, end: fdtHead}
	var head [fdtHead / 4]uint32
	for i := range head {
		v, err := w.word()
		if err != nil {
			return nil, err
		}
		head[i] = v
	}
	if version, compat := head[5], head[6]; version < fdtVersion || compat > fdtVersion {
		return nil, fmt.Errorf("the tree has version %d (compatible with %d), which is not known", version, compat)
	}
	w.total = int64(head[1])
	w.off = int64(head[2])
	w.end = w.off + int64(head[9])
	names, size := int64(head[3]), int64(head[8])
	switch {
	case head[0] != fdtMagic:
		return nil, errors.New("there is no device tree")
	case w.off < fdtHead || w.off%4 != 0 || w.end > w.total:
		return nil, fmt.Errorf("the struct block, bytes %d to %d, does not lie in the tree of %d bytes", w.off, w.end, w.total)
	case names < fdtHead || names+size > w.total:
		return nil, fmt.Errorf("the strings block, bytes %d to %d, does not lie in the tree of %d bytes", names, names+size, w.total)
	case size > maxNames:
		return nil, fmt.Errorf("the strings block has %d bytes, more than %d", size, maxNames)
	}
	w.names = make([]byte, size)
	if n, err := r.ReadAt(w.names, names); n < len(w.names) {
		return nil, fmt.Errorf("strings at offset %d: %w", names, cutOff(err))
	}
	return w, nil
}

// walk calls found for each property and names each node that begins.
func (w *walker) walk(found func(property) error) error {
	for range maxTokens {
		at := w.off
		done, err := w.token(found)
		if err != nil {
			return fmt.Errorf("offset %d: %w", at, err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("offset %d: there are more than %d tokens", w.off, maxTokens)
}

func (w *walker) token(found func(property) error) (done bool, err error) {
	token, err := w.word()
	if err != nil {
		return false, err
	}
	switch token {
	case tokenNop:
		return false, nil
	case tokenNode:
		return false, w.node()
	case tokenNodeEnd:
		if w.depth == 0 {
			return false, errors.New("a node ends that has not begun")
		}
		w.depth--
		w.path = w.path[:max(0, w.depth-1)]
		return false, nil
	case tokenProp:
		return false, w.property(found)
	case tokenEnd:
		if w.depth > 0 {
			return false, errors.New("the tree ends in the middle of a node")
		}
		return true, nil
	}
	return false, fmt.Errorf("there is no token %d", token)
}

// word reads one word of the block.
func (w *walker) word() (uint32, error) {
	var b [4]byte
	if w.off+4 > w.end {
		return 0, errors.New("the block ends in the middle of a node")
	}
	if n, err := w.r.ReadAt(b[:], w.off); n < len(b) {
		return 0, cutOff(err)
	}
	w.off += 4
	return binary.BigEndian.Uint32(b[:]), nil
}

// node reads the name of a node.
func (w *walker) node() error {
	name, err := w.text(w.off, min(maxName+1, w.end-w.off))
	if err != nil {
		return fmt.Errorf("node name: %w", err)
	}
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("nodes are nested more than %d deep", maxDepth)
	}
	if w.depth > 1 {
		w.path = append(w.path, name)
	}
	w.off += (int64(len(name)) + 4) &^ 3
	return nil
}

func (w *walker) property(found func(property) error) error {
	size, err := w.word()
	if err != nil {
		return err
	}
	name, err := w.word()
	if err != nil {
		return err
	}
	if w.depth == 0 {
		return errors.New("a property lies outside of the tree")
	}
	if int64(size) > w.end-w.off {
		return fmt.Errorf("a property of %d bytes leads out of the block", size)
	}
	if int64(name) >= int64(len(w.names)) {
		return fmt.Errorf("a property's name is at %d of %d bytes", name, len(w.names))
	}
	text, _, ended := bytes.Cut(w.names[name:], []byte{0})
	if !ended {
		return errors.New("a property's name does not end")
	}
	p := property{w.path, string(text), w.off, int64(size)}
	w.off += (int64(size) + 3) &^ 3
	return found(p)
}

// text reads a string that ends in a zero byte within size bytes.
func (w *walker) text(off, size int64) (string, error) {
	b := make([]byte, size)
	n, err := w.r.ReadAt(b, off)
	text, _, ended := bytes.Cut(b[:n], []byte{0})
	switch {
	case ended:
		return string(text), nil
	case n < len(b):
		return "", cutOff(err)
	}
	return "", errors.New("does not end in a zero byte")
}
