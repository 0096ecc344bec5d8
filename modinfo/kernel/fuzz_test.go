package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Images are read within a limit of unpacked size, and with no more memory than some
// times that; what is read can be looked at for facts.
func FuzzReadImage(f *testing.F) {
	const limit, memory = 1 << 20, 48 << 20
	config := slices.Concat([]byte("IKCFG_ST"), compressed(sample), []byte("IKCFG_ED"))
	image := testKernel(slices.Concat(config, keyList(256, 477, certificate(477))), saysVermagic, SaysDisagrees, SaysImportWarning)
	f.Add(image)
	f.Add(asEFI(image))
	f.Add(elfFile(elf.EM_X86_64, part{0xffffffff81000000, image}, part{0xffffffff81002000, image}, part{0, image}))
	for packing, pack := range packers {
		packed := pack(f, image)
		f.Add(packed)
		f.Add(zboot(packed, packing))
		f.Add(bzImage(sized(packed, image)))
	}
	f.Add([]byte("BZh91AY&SY"))
	for _, data := range claims(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := readImage(bytes.NewReader(data), int64(len(data)), limit)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > memory+uint64(8*len(data)) {
			t.Fatalf("%d bytes of memory for %d bytes: %v", spent, len(data), err)
		}
		if (err == nil) != (m != nil) {
			t.Fatalf("%v and %v", m, err)
		}
		if err != nil {
			return
		}
		if len(m.Data) > limit || m.Format == "" {
			t.Fatalf("%q, %d bytes", m.Format, len(m.Data))
		}
		if got := m.At(m.Base, uint64(len(m.Data))); !bytes.Equal(got, m.Data) || m.At(m.Base+1, uint64(len(m.Data))) != nil {
			t.Fatal("At gives other bytes")
		}
		facts := new(Facts)
		facts.AddImage(m, "image")
		for _, fact := range []Text{facts.Release, facts.Vermagic} {
			if (fact.Value == "") != (fact.From.Source == Unknown) || !bytes.Contains(m.Data, []byte(fact.Value)) {
				t.Fatalf("%+v", fact)
			}
		}
		if (len(facts.Keys) > 0) != (facts.KeysFrom.Source == FromImage) {
			t.Fatalf("%d keys from %v", len(facts.Keys), facts.KeysFrom)
		}
	})
}

func FuzzAddSymvers(f *testing.F) {
	f.Add("0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0xffffffff\tsecret\ta/b\tEXPORT_SYMBOL_GPL\tNS\n")
	f.Add("0x12345678\tprintk\tNS\tvmlinux\tEXPORT_SYMBOL\n")
	f.Add("0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\n")
	f.Fuzz(func(t *testing.T, text string) {
		facts := new(Facts)
		if err := facts.AddSymvers(strings.NewReader(text), "file"); err != nil {
			if facts.Exports != nil || facts.ModuleExports != nil {
				t.Fatalf("%v, and symbols", err)
			}
			return
		}
		// Written in today's order it reads the same.
		var b strings.Builder
		for _, symbols := range []map[string]Export{facts.Exports, facts.ModuleExports} {
			for name, e := range symbols {
				kind := "EXPORT_SYMBOL"
				if e.GPL {
					kind += "_GPL"
				}
				fmt.Fprintf(&b, "0x%08x\t%s\t%s\t%s\t%s\n", e.CRC, name, e.Provider, kind, e.Namespace)
			}
		}
		again := new(Facts)
		if err := again.AddSymvers(strings.NewReader(b.String()), "file"); err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		if !maps.Equal(facts.Exports, again.Exports) || !maps.Equal(facts.ModuleExports, again.ModuleExports) {
			t.Fatalf("%v, then %v", facts, again)
		}
	})
}

func FuzzAddSystemMap(f *testing.F) {
	f.Add(systemMap("ffffffff801cd588 r __ksymtab_printk", "0000000012345678 A __crc_printk", "ffffffff80004406 t apply_r_riscv_64_rela"))
	f.Add("ffffffffffffffff B stub\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		facts := new(Facts)
		err := facts.AddSystemMap(strings.NewReader(text), "file")
		if err != nil && (facts.Exports != nil || facts.Notes != nil) {
			t.Fatalf("%v, and symbols", err)
		}
		for name := range facts.Exports {
			if !strings.Contains(text, " __ksymtab_"+name) {
				t.Fatalf("%q is not in the file", name)
			}
		}
	})
}
