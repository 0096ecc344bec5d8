package slim

import (
	"bytes"
	"fmt"
)

// stringTable is a table of names that is written again with those in use. A name
// that was the end of another one stays it.
type stringTable struct {
	old []byte   // begins and ends with NUL
	at  []uint32 // by place in old: not 0 is in use; once built, the new place
	new []byte
}

// use notes that the name at a place is in use.
func (t *stringTable) use(at uint32) error {
	if uint64(at) >= uint64(len(t.at)) {
		return fmt.Errorf("its name at %d lies outside the names", at)
	}
	t.at[at] = 1
	return nil
}

// label tells whether the name at a place is one of the assembler's.
func (t *stringTable) label(at uint32) bool {
	return uint64(at)+2 < uint64(len(t.old)) && t.old[at] == '.' && t.old[at+1] == 'L'
}

// build makes the new table.
func (t *stringTable) build() {
	t.new = []byte{0}
	end, moved := 0, 0
	for at, used := range t.at {
		if used == 0 {
			continue
		}
		if at >= end {
			end = at + bytes.IndexByte(t.old[at:], 0) + 1
			if end == at+1 {
				t.at[at] = 0 // the empty name
				continue
			}
			moved = len(t.new) - at
			t.new = append(t.new, t.old[at:end]...)
		}
		t.at[at] = uint32(at + moved)
	}
}
