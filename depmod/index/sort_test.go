package index

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The order is that of the keys' bytes, then of priorities, then the last added first;
// keys are of all lengths, and many begin alike.
func TestSort(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	heads := []string{"", "a", "pci:v00008086d0000", "pci:v00008086", "of:N*T*C", strings.Repeat("x", 40)}
	for range 200 {
		var b Builder
		type numbered struct {
			entry
			number int
		}
		var want []numbered
		for i := range random.IntN(60) {
			key := heads[random.IntN(len(heads))] + strings.Repeat("b", random.IntN(20)) + heads[random.IntN(len(heads))]
			e := entry{key, string(rune('A' + i)), uint32(random.IntN(3))}
			if err := b.Add(e.key, e.value, e.priority); err != nil {
				t.Fatal(err)
			}
			want = append(want, numbered{e, i})
		}
		slices.SortFunc(want, func(x, y numbered) int {
			return cmp.Or(strings.Compare(x.key, y.key), cmp.Compare(x.priority, y.priority), cmp.Compare(y.number, x.number))
		})
		b.sort()
		for i, e := range b.entries {
			if e != want[i].entry {
				t.Fatalf("%d is %v, not %v", i, e, want[i].entry)
			}
		}
	}
}

// TextError names the first byte that cannot be in an index, wherever it stands.
func TestMisfit(t *testing.T) {
	fine := "\x01\x02 !~\x7f, and more of it, at last"
	if at := misfit(fine); at >= 0 {
		t.Errorf("byte %d of %q", at, fine)
	}
	for i := range len(fine) {
		for _, bad := range []string{"\x00", "\x80", "\xff"} {
			text := fine[:i] + bad + fine[i+1:]
			if at := misfit(text); at != i {
				t.Errorf("%q: byte %d, not %d", text, at, i)
			}
			if at := misfit(text + bad); at != i {
				t.Errorf("%q twice: byte %d, not %d", text, at, i)
			}
		}
	}
}
