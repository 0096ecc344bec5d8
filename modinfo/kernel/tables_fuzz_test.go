package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"runtime"
	"testing"
)

// tableMemory is how much may be spent on the tables of an image.
func tableMemory(size int) uint64 { return uint64(4<<20 + 64*size) }

// spends runs a reader, and fails when it takes more memory than the image allows.
func spends(t *testing.T, size int, read func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read()
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > tableMemory(size) {
		t.Fatalf("%d bytes of memory for %d bytes", spent, size)
	}
}

// fuzzImage takes the data for an image. Zeros in front, which seeds do not need to
// have, are where the addresses of the generated tables point to.
func fuzzImage(data []byte) *Image {
	return &Image{Machine: elf.EM_RISCV, Base: testBase, Data: append(make([]byte, 64<<10), data...)}
}

// addSeed adds what is behind the room of an image.
func addSeed(f *testing.F, b *builder, machine elf.Machine) {
	f.Add(b.image(machine).Data[64<<10:])
}

func FuzzKallsyms(f *testing.F) {
	for _, form := range listForms {
		b := newBuilder()
		form.write(b, form.asList(testSymbols(300)))
		addSeed(f, b, elf.EM_RISCV)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := fuzzImage(data)
		spends(t, len(m.Data), func() {
			k := findKallsyms(m)
			if k == nil {
				return
			}
			if k.addresses != nil && len(k.addresses) != k.number {
				t.Fatalf("%d addresses of %d names", len(k.addresses), k.number)
			}
			k.each(func(i int, name []byte) {
				if i >= k.number || len(name) == 0 {
					t.Fatalf("name %d is %q", i, name)
				}
			})
		})
	})
}

func FuzzExports(f *testing.F) {
	for _, form := range exportForms {
		b := newBuilder()
		form.write(b, form.testExports(300))
		addSeed(f, b, elf.EM_RISCV)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := fuzzImage(data)
		spends(t, len(m.Data), func() {
			symbols, how := findExports(m)
			if (symbols != nil) != (how != "") || symbols != nil && len(symbols) < minSymbols/2 {
				t.Fatalf("%d symbols, %q", len(symbols), how)
			}
			for name, e := range symbols {
				if name == "" || !e.HasGPL || !bytes.Contains(m.Data, []byte(name)) || !bytes.Contains(m.Data, []byte(e.Namespace)) {
					t.Fatalf("%q: %+v", name, e)
				}
			}
		})
	})
}

func FuzzRelocations(f *testing.F) {
	_, types := mainlineRelocations(elf.EM_RISCV, "6.12")
	var list []uint32
	for n := range types {
		list = append(list, n)
	}
	for _, stride := range []int{8, 16} {
		b := newBuilder()
		writeHandlers(b, stride, list, nil)
		for range minRelatives {
			b.put64(testBase)
		}
		addSeed(f, b, elf.EM_RISCV)
		f.Add(asRelocatable(b.image(elf.EM_RISCV)).Data[64<<10:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := fuzzImage(data)
		before := bytes.Clone(m.Data)
		facts := new(Facts)
		spends(t, len(m.Data), func() { facts.addTables(m, "Image") })
		if !bytes.Equal(before, m.Data) {
			t.Fatal("the image was changed")
		}
		if (facts.Relocations != nil) != (facts.RelocationsFrom.Source == FromImage) {
			t.Fatalf("%v from %v", facts.Relocations, facts.RelocationsFrom)
		}
		for _, n := range mainlineSteps[0].types {
			if facts.Relocations != nil && !facts.Relocations[n] {
				t.Fatalf("no type %d in %v", n, facts.Relocations)
			}
		}
	})
}

// Small files that claim to have much cost nothing.
func TestTableClaims(t *testing.T) {
	b := new(builder)
	b.put32(2 << 30) // so many names
	b.put32(0)
	b.WriteString("\xff\xff name ") // of 16 KiB
	b.put32(0)
	b.put32(64 << 10) // so far to the 256th
	index, text := []byte(nil), []byte(nil)
	for i := range 256 {
		index = le.AppendUint16(index, uint16(len(text)))
		if i >= '0' && i <= '9' {
			text = append(text, byte(i))
		}
		text = append(text, 0)
	}
	b.Write(text)
	b.align(4)
	b.Write(index)
	relocations := new(builder)
	for range 40 {
		relocations.put64(testBase + 1<<30)
		relocations.put64(rvRelative)
		relocations.put64(testBase + 1<<30)
	}
	entries := new(builder)
	for range 40 {
		entries.put64(testBase + 1<<30)
		entries.put64(testBase + 1000)
		entries.put64(testBase + 1<<30)
	}
	for name, data := range map[string][]byte{
		"names": b.Bytes(), "relocations": relocations.Bytes(), "entries": entries.Bytes(),
		"distances": bytes.Repeat(binary.LittleEndian.AppendUint32(nil, 2<<30-1), 250),
	} {
		if len(data) > 1024 {
			t.Errorf("%s: %d bytes are more than 1 KiB", name, len(data))
		}
		m := &Image{Machine: elf.EM_RISCV, Base: testBase, Data: data}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		facts := new(Facts)
		facts.addTables(m, "Image")
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<10 || facts.Exports != nil || facts.Relocations != nil {
			t.Errorf("%s: %d bytes were allocated", name, spent)
		}
	}
}
