package initrd

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// unpacked gives what a file holds that may be compressed as a whole, as by gzip
// -c: several members or frames one after the other are one content, other than in
// an image. br should have a buffer of at least 4 KiB.
func unpacked(br *bufio.Reader) (io.ReadCloser, error) {
	head, _ := br.Peek(4) // a shorter one is not compressed
	if len(head) == 4 && binary.LittleEndian.Uint32(head)&^0xf == zstdSkippable {
		return &members{br: br, method: Zstd}, nil
	}
	m, found := DetectMethod(head)
	if !found {
		return io.NopCloser(br), nil
	}
	return &members{br: br, method: m}, nil
}

// zstdSkippable is the magic of the frames that pzstd writes between the others,
// less its last four bits (RFC 8878, 3.1.2).
const zstdSkippable = 0x184d2a50

type members struct {
	br     *bufio.Reader
	method Method
	cur    *decompressor // nil: between members
}

func (m *members) Read(p []byte) (int, error) {
	for {
		if m.cur == nil {
			if err := m.next(); err != nil {
				return 0, err
			}
		}
		n, err := m.cur.Read(p)
		if err == io.EOF {
			_ = m.Close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next begins a further member, or says io.EOF. Zero bytes may follow the last, as
// on a tape.
func (m *members) next() error {
	for {
		head, err := m.br.Peek(8)
		if len(head) == 0 {
			return err
		}
		switch found, ok := DetectMethod(head); {
		case ok && found == m.method:
			m.cur, err = decoder(m.method, m.br)
			return err
		case m.method == Zstd && len(head) == 8 && binary.LittleEndian.Uint32(head)&^0xf == zstdSkippable:
			size := int64(binary.LittleEndian.Uint32(head[4:]))
			if _, err := io.CopyN(io.Discard, m.br, 8+size); err != nil {
				return fmt.Errorf("%v: skippable frame: %w", m.method, cutOff(err))
			}
		case head[0] == 0:
			_, _ = m.br.Discard(1) // it has been seen
		default:
			return fmt.Errorf("%v: %q follows the compressed data", m.method, head)
		}
	}
}

func (m *members) Close() error {
	if m.cur != nil {
		_ = m.cur.Close() // it has only been read from
		m.cur = nil
	}
	return nil
}
