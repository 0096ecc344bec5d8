package largemem

import (
	"bytes"
	"testing"
)

func TestMake(t *testing.T) {
	for _, n := range []int{0, 1, 1<<20 - 1, 1 << 20, 2 << 20, 2<<20 + 1, 5 << 20} {
		b := Make(n)
		if len(b) != n || bytes.Count(b, []byte{0}) != n {
			t.Fatalf("%d bytes of %d, %d zeros", len(b), n, bytes.Count(b, []byte{0}))
		}
		for i := range b {
			b[i] = 1
		}
		if other := Make(n); bytes.Count(other, []byte{0}) != n || bytes.Count(b, []byte{1}) != n {
			t.Errorf("%d bytes share memory with others", n)
		}
	}
}
