package fdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Walk calls visit for each node, a node before those in it. An error of visit
// ends the walk and is returned as it is.
func (t *Tree) Walk(visit func(*Node) error) error {
	w := walker{Tree: t, off: t.start, visit: visit}
	for range maxTokens {
		at := w.off
		done, err := w.token()
		switch {
		case w.stopped != nil:
			return w.stopped
		case err != nil:
			return fmt.Errorf("offset %d: %w", at, err)
		case done:
			return nil
		}
	}
	return fmt.Errorf("offset %d: there are more than %d tokens", w.off, maxTokens)
}

type walker struct {
	*Tree
	off     int64 // of the next token
	node    Node  // the current one; its properties only while it is open
	depth   int   // of the current node: 0 outside of the root
	open    bool  // the current node takes properties and was not visited yet
	ended   bool  // the root has ended
	visit   func(*Node) error
	stopped error // what visit said
}

func (w *walker) token() (done bool, err error) {
	token, err := w.word()
	if err != nil {
		return false, err
	}
	switch token {
	case tokenNop:
		return false, nil
	case tokenNode:
		return false, w.begin()
	case tokenNodeEnd:
		return false, w.leave()
	case tokenProp:
		return false, w.property()
	case tokenEnd:
		if w.depth > 0 {
			return false, errors.New("the tree ends in the middle of a node")
		}
		if !w.ended {
			return false, errors.New("the tree has no root")
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

func (w *walker) begin() error {
	w.close()
	if w.ended {
		return errors.New("there is a second root")
	}
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("nodes are nested more than %d deep", maxDepth)
	}
	name, err := w.name()
	if err != nil {
		return fmt.Errorf("node name: %w", err)
	}
	if w.depth > 1 {
		w.node.Path = append(w.node.Path, name)
	}
	w.node.Properties = w.node.Properties[:0]
	w.open = true
	return nil
}

func (w *walker) leave() error {
	if w.depth == 0 {
		return errors.New("a node ends that has not begun")
	}
	w.close()
	w.depth--
	w.ended = w.depth == 0
	w.node.Path = w.node.Path[:max(0, w.depth-1)]
	return nil
}

// close visits the current node, all of whose properties are known.
func (w *walker) close() {
	if w.open && w.stopped == nil {
		w.stopped = w.visit(&w.node)
	}
	w.open = false
}

func (w *walker) property() error {
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
	if !w.open { // the kernel and libfdt would not see it
		return errors.New("a property follows the nodes of its node")
	}
	if int64(size) > w.end-w.off {
		return fmt.Errorf("a property of %d bytes leads out of the block", size)
	}
	if int64(name) >= int64(len(w.names)) {
		return fmt.Errorf("a property's name is at %d of %d bytes", name, len(w.names))
	}
	text := w.names[name:min(int64(name)+maxName+1, int64(len(w.names)))]
	text, _, ended := strings.Cut(text, "\x00")
	if !ended {
		return errors.New("a property's name does not end")
	}
	w.node.Properties = append(w.node.Properties, Property{text, w.off, int64(size)})
	w.off += (int64(size) + 3) &^ 3
	return nil
}

// name reads the name of a node.
func (w *walker) name() (string, error) {
	b := make([]byte, min(maxName+1, w.end-w.off))
	n, err := w.r.ReadAt(b, w.off)
	text, _, ended := bytes.Cut(b[:n], []byte{0})
	switch {
	case ended:
		w.off += (int64(len(text)) + 4) &^ 3
		return string(text), nil
	case n < len(b):
		return "", cutOff(err)
	}
	return "", errors.New("does not end in a zero byte")
}
