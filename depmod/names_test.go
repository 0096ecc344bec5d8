package depmod

import (
	"fmt"
	"testing"
)

func TestNameTable(t *testing.T) {
	var table nameTable
	if _, known := table.find("nothing"); known {
		t.Error("a name in an empty table")
	}
	name := func(i int) string { return fmt.Sprint("name", i) }
	for i := range 5000 {
		if n := table.number(name(i)); n != uint32(i) {
			t.Fatalf("%s has the number %d", name(i), n)
		}
	}
	read := nameTable{list: table.list} // as from a cache
	for _, table := range []*nameTable{&table, &read} {
		for i := range 5000 {
			if n, known := table.find(name(i)); !known || n != uint32(i) || table.number(name(i)) != n {
				t.Fatalf("%s: %d, %v", name(i), n, known)
			}
			if _, known := table.find(name(5000 + i)); known {
				t.Fatalf("%s is known", name(5000+i))
			}
		}
	}
	if len(read.list) != 5000 {
		t.Errorf("%d names", len(read.list))
	}
}
