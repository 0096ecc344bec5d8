package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// Tables as kernels have them in forms that no kernel of the lab has. They are put
// into an image of zeros.

const testBase = uint64(riscvBase)

// builder lays an image out part by part.
type builder struct{ bytes.Buffer }

func (b *builder) align(n int) uint64 {
	for b.Len()%n != 0 {
		b.WriteByte(0)
	}
	return uint64(b.Len())
}

func (b *builder) put32(n uint64) { b.Write(le.AppendUint32(nil, uint32(n))) }
func (b *builder) put64(n uint64) { b.Write(le.AppendUint64(nil, n)) }

// newBuilder begins with room that addresses of symbols can be in.
func newBuilder() *builder {
	b := new(builder)
	b.Write(make([]byte, 64<<10))
	return b
}

func (b *builder) image(machine elf.Machine) *Image {
	m := &Image{Format: "test", Machine: machine, Base: testBase, Data: append(b.Bytes(), make([]byte, 256)...)}
	if machine == elf.EM_AARCH64 {
		m.Base = 0
	}
	return m
}

// A listForm is a form of kallsyms.
type listForm struct {
	name      string
	addresses string // relative, percpu, place, absolute, none
	later     bool   // the addresses come behind the names
	seqs      bool
	align     int
}

var listForms = []listForm{
	{"6.0", "relative", false, false, 8},
	{"6.0 absolute", "absolute", false, false, 8},
	{"6.1 x86", "percpu", false, true, 8},
	{"6.1", "relative", false, true, 8},
	{"6.12", "relative", true, true, 8},
	{"6.12 absolute", "absolute", true, true, 8},
	{"6.12 x86", "percpu", true, true, 8},
	{"6.12, to be relocated", "none", true, true, 8},
	{"7.2", "place", true, true, 4},
}

// testSymbols are n symbols, some with the same address, one with a long name.
func testSymbols(n int, more ...string) []symbol {
	var list []symbol
	for i := range n {
		list = append(list, symbol{testBase + 0x40 + uint64(i/3*8), fmt.Sprintf("function_%d.isra.0", i)})
	}
	for i, name := range more {
		list[7*(i+1)].name = name
	}
	list[n/2].name = strings.Repeat("long_name_", 50) // 500 letters are 350 tokens
	return list
}

// asList makes the symbols fit a form.
func (f listForm) asList(list []symbol) []symbol {
	list = slices.Clone(list)
	switch f.addresses {
	case "percpu":
		list[0].address, list[1].address, list[2].address = 0, 0, 0x1000
	case "none":
		for i := range list {
			list[i].address = 0
		}
	}
	return list
}

// testTokens are all printable characters, and "apply_r_riscv_".
func testTokens() (tokens [256]string) {
	for c := '!'; c <= '~'; c++ {
		tokens[c] = string(c)
	}
	tokens[1], tokens[2] = "apply_r_riscv_", "name"
	return tokens
}

func (f listForm) write(b *builder, list []symbol) {
	if !f.later {
		f.writeAddresses(b, list)
		b.align(f.align)
	} else {
		b.align(f.align)
	}
	b.put32(uint64(len(list)))
	markers, names := []uint64(nil), b.align(f.align)
	for i, s := range list {
		if i%256 == 0 {
			markers = append(markers, uint64(b.Len())-names)
		}
		packed := strings.NewReplacer("apply_r_riscv_", "\x01", "name", "\x02").Replace("T" + s.name)
		if n := len(packed); n < 128 {
			b.WriteByte(byte(n))
		} else {
			b.Write([]byte{byte(n)&127 | 128, byte(n >> 7)})
		}
		b.WriteString(packed)
	}
	b.align(f.align)
	for _, m := range markers {
		b.put32(m)
	}
	b.align(f.align)
	seqs := bytes.Repeat([]byte{0, 0xa1, 0x53}, len(list))
	if f.seqs && !f.later {
		b.Write(seqs)
		b.align(f.align)
	}
	f.writeTokens(b)
	if f.later {
		f.writeAddresses(b, list)
		b.Write(seqs)
	}
}

func (f listForm) writeTokens(b *builder) {
	var index []byte
	start := b.Len()
	for _, token := range testTokens() {
		index = le.AppendUint16(index, uint16(b.Len()-start))
		b.WriteString(token + "\x00")
	}
	b.align(f.align)
	b.Write(index)
}

func (f listForm) writeAddresses(b *builder, list []symbol) {
	base := list[0].address
	if f.addresses == "percpu" {
		base = list[3].address
	}
	for at := b.align(f.align); len(list) > 0; list, at = list[1:], at+4 {
		switch a := list[0].address; f.addresses {
		case "relative", "none":
			b.put32(a - base)
		case "percpu":
			if a >= base {
				a = base - 1 - a
			}
			b.put32(a)
		case "place":
			b.put32(a - testBase - at)
		case "absolute":
			b.put64(a)
		}
	}
	if f.addresses != "place" && f.addresses != "absolute" {
		b.align(8)
		b.put64(base)
	}
}

// An exportForm is a form of the table of symbols that modules may use.
type exportForm struct {
	name      string
	form      symbolForm
	checksums bool
	flags     bool
	empty     bool // namespaces are 0 when there is none, not the place of ""
}

var exportForms = []exportForm{
	{"4.15 riscv", symbolForm{8, 2, ""}, true, false, false},
	{"5.4 riscv", symbolForm{8, 3, ""}, true, false, true},
	{"6.12 riscv", symbolForm{8, 3, ""}, true, false, false},
	{"7.2 riscv", symbolForm{8, 3, ""}, false, true, false},
	{"7.2 riscv, versions", symbolForm{8, 3, ""}, true, true, false},
	{"5.0 arm64", symbolForm{4, 2, ""}, false, false, false},
	{"5.4 arm64", symbolForm{4, 3, ""}, true, false, true},
	{"6.12 arm64", symbolForm{4, 3, ""}, true, false, false},
	{"7.2 arm64", symbolForm{4, 3, ""}, false, true, false},
	{"7.2 arm64, versions", symbolForm{4, 3, ""}, true, true, false},
}

// testExports are n symbols; of three, one is GPL only, of five, one has a namespace.
func (f exportForm) testExports(n int) map[string]Export {
	symbols := make(map[string]Export)
	for i := range n {
		e := Export{GPL: i%3 == 0, HasGPL: true, Provider: "vmlinux"}
		if f.checksums {
			e.CRC, e.HasCRC = uint32(i)*2654435761, true
		}
		if f.form.fields == 3 && i%5 == 0 {
			e.Namespace = fmt.Sprintf("NAMES_%d", i%2)
		}
		symbols[fmt.Sprintf("symbol_%d", i)] = e
	}
	return symbols
}

// sorted gives the names in the order of the table.
func (f exportForm) sorted(symbols map[string]Export) []string {
	var first, second []string
	for name, e := range symbols {
		if e.GPL && !f.flags {
			second = append(second, name)
		} else {
			first = append(first, name)
		}
	}
	slices.Sort(first)
	slices.Sort(second)
	return append(first, second...)
}

func (f exportForm) write(b *builder, symbols map[string]Export) {
	names := f.sorted(symbols)
	start := int(b.align(8))
	size := int(f.form.field * f.form.fields)
	b.Write(make([]byte, size*len(names)))
	for _, name := range names {
		if f.checksums {
			b.put32(uint64(symbols[name].CRC))
		}
	}
	for _, name := range names {
		if flag := byte(0); f.flags {
			if symbols[name].GPL {
				flag = gplOnly
			}
			b.WriteByte(flag)
		}
	}
	places := make(map[string]int)
	place := func(text string) int {
		if _, ok := places[text]; !ok {
			places[text] = b.Len()
			b.WriteString(text + "\x00")
		}
		return places[text]
	}
	for i, name := range names {
		fields := []int{16 * i, place(name)}
		if f.form.fields == 3 {
			fields = append(fields, place(symbols[name].Namespace))
			if f.empty && symbols[name].Namespace == "" {
				fields[2] = 0
			}
		}
		for j, to := range fields {
			at := start + size*i + int(f.form.field)*j
			switch {
			case j == 2 && to == 0:
			case f.form.field == 8:
				le.PutUint64(b.Bytes()[at:], testBase+uint64(to))
			default:
				le.PutUint32(b.Bytes()[at:], uint32(to-at))
			}
		}
	}
}

// writeHandlers writes the loader's table: functions 16 bytes apart, those of types
// in far behind 128 KiB from the others.
func writeHandlers(b *builder, stride int, types, far []uint32) (at uint64) {
	at = b.align(8)
	last := slices.Max(append(slices.Clone(types), far...))
	b.Write(make([]byte, stride*int(last+1)))
	for _, t := range types {
		le.PutUint64(b.Bytes()[int(at)+stride*int(t):], testBase+0x100+16*uint64(t))
	}
	for _, t := range far { // one function for all
		le.PutUint64(b.Bytes()[int(at)+stride*int(t):], testBase+0xff00)
	}
	b.WriteString("and more") // no pointer
	return at
}

// asRelocatable takes the pointers out of an image, and puts a list of them into it.
func asRelocatable(m *Image) *Image {
	moved := *m
	moved.Data = bytes.Clone(m.Data)
	for len(moved.Data)%8 != 0 {
		moved.Data = append(moved.Data, 0)
	}
	var list []byte
	for at := 0; at+8 <= len(m.Data); at += 8 {
		if addr := le.Uint64(m.Data[at:]); m.holds(addr) {
			clear(moved.Data[at : at+8])
			list = le.AppendUint64(list, m.Base+uint64(at))
			list = le.AppendUint64(list, rvRelative)
			list = le.AppendUint64(list, addr)
		}
	}
	moved.Data = append(moved.Data, list...)
	return &moved
}
