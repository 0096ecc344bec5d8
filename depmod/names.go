package depmod

import "hash/maphash"

// A nameTable gives names numbers. It is a hash table of numbers: of a distribution's
// 19,000 names it takes a third of a map's memory, and of the time to make it (0.5 ms),
// and often few are looked for.
type nameTable struct {
	list  []string
	slots []uint32 // a name's number + 1 is in the first that is free from its hash on; made when one is looked for
}

var nameSeed = maphash.MakeSeed()

// slot is where a name is, or where it belongs.
func (t *nameTable) slot(name string) *uint32 {
	mask := uint64(len(t.slots) - 1)
	for i := maphash.String(nameSeed, name); ; i++ {
		if s := &t.slots[i&mask]; *s == 0 || t.list[*s-1] == name {
			return s
		}
	}
}

// makeRoom sees to it that no more than half of the slots are taken with one name more.
func (t *nameTable) makeRoom() {
	if 2*(len(t.list)+1) <= len(t.slots) {
		return
	}
	size := 64
	for size < 3*len(t.list) {
		size *= 2
	}
	t.slots = make([]uint32, size)
	for i, name := range t.list {
		*t.slot(name) = uint32(i) + 1
	}
}

// find tells the number of a name that has one.
func (t *nameTable) find(name string) (number uint32, known bool) {
	if t.slots == nil {
		t.makeRoom()
	}
	s := *t.slot(name)
	return s - 1, s != 0
}

// number gives a name its number.
func (t *nameTable) number(name string) uint32 {
	t.makeRoom()
	s := t.slot(name)
	if *s == 0 {
		t.list = append(t.list, name)
		*s = uint32(len(t.list))
	}
	return *s - 1
}
