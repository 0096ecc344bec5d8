package index

import (
	"fmt"
	"io"
	"testing"
)

// benchAliases are as many as a large distribution kernel has, and as alike.
func benchAliases(b *testing.B) *Builder {
	var builder Builder
	for i := range 50000 {
		alias := fmt.Sprintf("pci:v%08Xd%08Xsv*sd*bc*sc*i*", i/40, uint32(i)*2654435761>>16)
		switch i % 3 {
		case 1:
			alias = fmt.Sprintf("of:N*T*Cvendor%d,device-%d", i/90, i)
		case 2:
			alias = fmt.Sprintf("usb:v%04Xp%04Xd*dc*dsc*dp*ic*isc*ip*in*", i/60, uint32(i)*2654435761>>16)
		}
		add(b, &builder, alias, fmt.Sprintf("module_%d", i/15), uint32(i/15))
	}
	return &builder
}

func BenchmarkWrite(b *testing.B) {
	source := benchAliases(b)
	b.ReportAllocs()
	for b.Loop() {
		var builder Builder
		for _, e := range source.entries {
			if err := builder.Add(e.key, e.value, e.priority); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := builder.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	data := write(b, benchAliases(b))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		open(b, data)
	}
}

func BenchmarkLookup(b *testing.B) {
	ix := open(b, write(b, benchAliases(b)))
	key := all(ix)[30000].key
	b.ReportAllocs()
	for b.Loop() {
		ix.Lookup(key)
	}
}

func BenchmarkMatch(b *testing.B) {
	ix := open(b, write(b, benchAliases(b)))
	for _, text := range []string{"of:NethernetT(null)Cvendor97,device-8800", "usb:v0100p1A2Bd0100dc00dsc00dp00ic08isc06ip50in00"} {
		b.Run(text[:3], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ix.Match(text)
			}
		})
	}
}
