package fdt

import (
	"encoding/binary"
	"io"
)

// structStart is where a [Builder] puts the struct block: behind the header and
// an empty list of reserved memory.
const structStart = headSize + 16

// A Builder is a tree in the making. Large values are not copied into it: they
// are pieces of their own.
type Builder struct {
	// Pieces follow each other from the struct block on.
	Pieces []Piece
	// Names is the strings block, which follows the pieces.
	Names []byte

	size   int64 // of the pieces
	nameAt map[string]int
}

// A Piece is either bytes or what a section holds.
type Piece struct {
	Bytes   []byte
	Section *io.SectionReader
}

func (b *Builder) add(p []byte) {
	b.Pieces = append(b.Pieces, Piece{Bytes: p})
	b.size += int64(len(p))
}

func (b *Builder) words(w ...uint32) {
	var p []byte
	for _, v := range w {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	b.add(p)
}

func (b *Builder) fill() { b.add(make([]byte, -b.size&3)) }

// Begin begins a node. The root has no name.
func (b *Builder) Begin(name string) {
	b.words(tokenNode)
	b.add(append([]byte(name), 0))
	b.fill()
}

// End ends the node that began last.
func (b *Builder) End() { b.words(tokenNodeEnd) }

// name returns the offset of a property's name in the strings block.
func (b *Builder) name(s string) uint32 {
	at, ok := b.nameAt[s]
	if !ok {
		if b.nameAt == nil {
			b.nameAt = make(map[string]int)
		}
		at = len(b.Names)
		b.nameAt[s] = at
		b.Names = append(append(b.Names, s...), 0)
	}
	return uint32(at)
}

// Property adds a property to the node that began last. Those of a node come
// before the nodes in it.
func (b *Builder) Property(name string, value []byte) {
	b.words(tokenProp, uint32(len(value)), b.name(name))
	b.add(value)
	b.fill()
}

// Text adds a property that is a list of strings.
func (b *Builder) Text(name string, values ...string) {
	var p []byte
	for _, v := range values {
		p = append(append(p, v...), 0)
	}
	b.Property(name, p)
}

// Number adds a property of one cell.
func (b *Builder) Number(name string, v uint32) {
	b.Property(name, binary.BigEndian.AppendUint32(nil, v))
}

// Section adds a property whose value lies at a multiple of align in the tree.
func (b *Builder) Section(name string, value *io.SectionReader, align int64) {
	for (structStart+b.size+12)%align != 0 {
		b.words(tokenNop)
	}
	b.words(tokenProp, uint32(value.Size()), b.name(name))
	b.Pieces = append(b.Pieces, Piece{Section: value})
	b.size += value.Size()
	b.fill()
}

// Finish ends the tree. It returns what comes before the pieces, and the size
// of the whole.
func (b *Builder) Finish() (head []byte, total int64) {
	b.words(tokenEnd)
	strings := structStart + b.size
	total = strings + int64(len(b.Names))
	for _, v := range [...]uint32{
		Magic, uint32(total), structStart, uint32(strings), headSize,
		version, compatible, 0, uint32(len(b.Names)), uint32(b.size),
	} {
		head = binary.BigEndian.AppendUint32(head, v)
	}
	return append(head, make([]byte, structStart-headSize)...), total
}

// Bytes finishes a tree without sections and returns it.
func (b *Builder) Bytes() []byte {
	p, _ := b.Finish()
	for _, piece := range b.Pieces {
		p = append(p, piece.Bytes...)
	}
	return append(p, b.Names...)
}
