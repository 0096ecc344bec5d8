package modinfo

import "io"

// An Unpacker gives the whole of one module file after the other with the same
// decoders and buffers. The zero value is ready. It is not for concurrent use.
type Unpacker struct {
	// MaxSize is the largest unpacked module in bytes; 0 means DefaultMaxSize.
	MaxSize int64

	unpacker unpacker
}

// Unpack reads a file of size bytes, and unpacks it when its first bytes tell of a
// packing. The bytes are valid until the next call. Memory grows only as far as
// there is something to read. Errors are [FormatError] values, besides those of r.
func (u *Unpacker) Unpack(r io.ReaderAt, size int64) ([]byte, Compression, error) {
	limit := u.MaxSize
	if limit <= 0 {
		limit = DefaultMaxSize
	}
	if size > limit {
		return nil, None, tooLarge(limit)
	}
	var head [magicLen]byte
	n, err := r.ReadAt(head[:min(size, magicLen)], 0)
	if err != nil && err != io.EOF {
		return nil, None, err
	}
	packing := Detect(head[:n])
	if packing == None {
		b, err := u.Raw(r, size)
		return b, None, err
	}
	plain, err := u.unpacker.unpack(packing, r, size, limit)
	return plain, packing, err
}

// Raw reads a file of size bytes as it is. The bytes are valid until the next call.
func (u *Unpacker) Raw(r io.ReaderAt, size int64) ([]byte, error) {
	limit := u.MaxSize
	if limit <= 0 {
		limit = DefaultMaxSize
	}
	b, err := readAll(u.unpacker.packed[:0], io.NewSectionReader(r, 0, size), limit)
	if cap(b) > cap(u.unpacker.packed) {
		u.unpacker.packed = b
	}
	return b, err
}
