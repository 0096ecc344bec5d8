package zstdframe_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kstage/kstage/internal/zstdframe"
)

// The blocks of real frames end where the frame does, and hold what it unpacks to.
func TestBlocks(t *testing.T) {
	noise := make([]byte, 300<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for name, plain := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 1<<20), "noise": noise, "text": bytes.Repeat([]byte("kernel "), 50000)} {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		packed := z.EncodeAll(plain, nil)
		if len(packed) == 0 {
			continue // the encoder writes no frame for nothing
		}
		var h zstd.Header
		if err := h.Decode(packed); err != nil {
			t.Fatal(err)
		}
		blocks := packed[h.HeaderSize:]
		end, holds, whole := zstdframe.Blocks(blocks)
		if !whole || end != len(blocks) || holds < uint64(len(plain)) || holds > uint64(len(plain)+zstdframe.MostInBlock) {
			t.Errorf("%s: %d of %d bytes, whole %v, holds %d, and unpacks to %d", name, end, len(blocks), whole, holds, len(plain))
		}
		for _, cut := range []int{0, 2, len(blocks) / 2, len(blocks) - 1} {
			if end, _, whole := zstdframe.Blocks(blocks[:min(cut, len(blocks)-1)]); whole || end > cut {
				t.Errorf("%s: cut at %d: ends at %d, whole %v", name, cut, end, whole)
			}
		}
	}
}
