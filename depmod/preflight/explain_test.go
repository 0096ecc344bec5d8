package preflight

import (
	"debug/elf"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
)

// The forms in which logs have come to us: the serial console, dmesg with and
// without levels, times and colours, the journal, a shell, and retyped.
func TestExplainForms(t *testing.T) {
	for _, line := range []string{
		"hello: Unknown relocation type 57",
		"[   12.345678] hello: Unknown relocation type 57",
		"<3>[   12.345678] hello: Unknown relocation type 57\r",
		"[   12.345678][  T123] hello: Unknown relocation type 57",
		"[Tue Aug  1 12:00:00 2023] hello: Unknown relocation type 57",
		"Aug  1 12:00:00 board kernel: hello: Unknown relocation type 57",
		"Aug 01 12:00:00 board kernel: [   12.345678] hello: Unknown relocation type 57",
		"\x1b[32m[   12.345678] \x1b[0m\x1b[33mhello\x1b[0m: Unknown relocation type 57\x1b[0m",
		"hello: unknown relocation type 57",
		"\tHELLO: UNKNOWN RELOCATION TYPE 57 ",
	} {
		e, ok := Explain(line, 0)
		if !ok || strings.ToLower(e.Module) != "hello" || e.Rule != RelocUnsupported || e.Errno != EINVAL {
			t.Errorf("%q: %v, %+v", line, ok, e)
			continue
		}
		if strings.ToLower(e.Text) != "hello: unknown relocation type 57" {
			t.Errorf("%q: the text is %q", line, e.Text)
		}
		if want := "relocation type 57 is R_RISCV_32_PCREL"; !slices.Contains(e.Decoded, want) {
			t.Errorf("%q: decoded %q", line, e.Decoded)
		}
		if len(e.Causes) == 0 || e.Causes[0].Cure != UnwindCure {
			t.Errorf("%q: causes %+v", line, e.Causes)
		}
	}
}

// A line, and what is known of it.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		line   string
		module string
		symbol string
		rule   Rule
		errno  Errno
	}{
		{"missing: Unknown symbol kstage_absent_function (err -2)", "missing", "kstage_absent_function", UnknownSymbol, ENOENT},
		{"hello: Unknown symbol _printk (err -22)", "hello", "_printk", CRC, EINVAL},
		{"hello: Unknown symbol foo (err -11)", "hello", "foo", UnknownSymbol, 11},
		{"hello: disagrees about version of symbol _printk", "hello", "_printk", CRC, EINVAL},
		{"hello: disagrees about version of symbol module_layout", "hello", "", CRC, ENOEXEC},
		{"hello: version magic '6.1 mod_unload riscv' should be '6.2 SMP mod_unload riscv'", "hello", "", Vermagic, ENOEXEC},
		{"dupexport: exports duplicate symbol kstage_exported (owned by exporter)", "dupexport", "kstage_exported", DuplicateExport, ENOEXEC},
		{"weak: target 0000000000000000 can not be addressed by the 32-bit offset from PC = (____ptrval____)", "weak", "", WeakUnresolved, EINVAL},
		{"far: target ffffffff81408a70 can not be addressed by the 32-bit offset from PC = 000000006a161a78", "far", "", RelocRange, EINVAL},
		{"ns: module uses symbol (dma_buf_get) from namespace DMA_BUF, but does not import it.", "ns", "dma_buf_get", Namespace, EINVAL},
		{"failed to validate module [hello] BTF: -22", "hello", "", BTF, EINVAL},
		{"tls: Unknown relocation type 29", "tls", "", RelocTLSDynamic, EINVAL},
		{"dyn: Unknown relocation type 5", "dyn", "", RelocTLSDynamic, EINVAL},
		{"hello: Unknown relocation type 200", "hello", "", RelocUnsupported, EINVAL},
		{"hello: `abc' invalid for parameter `n'", "hello", "", Params, EINVAL},
		{"hello: unknown parameter 'x' ignored", "hello", "", Params, 0},
		{"Module foo_bar is blacklisted", "foo_bar", "", Blacklisted, EPERM},
		{"module hello: unsupported RELA relocation: 311", "hello", "", RelocUnsupported, ENOEXEC},
		{"insmod: ERROR: could not insert module ./hello.ko: Invalid module format", "hello", "", Vermagic, ENOEXEC},
		{"modprobe: ERROR: could not insert 'snd-foo': Invalid argument", "snd_foo", "", RelocUnsupported, EINVAL},
		{"modprobe: ERROR: could not insert 'x': Unknown symbol in module, or unknown parameter (see dmesg)", "x", "", UnknownSymbol, ENOENT},
		{"insmod: can't insert '/lib/hello.ko.xz': invalid module format", "hello", "", Vermagic, ENOEXEC},
		{"modprobe: can't load module hello (kernel/hello.ko): unknown symbol in module, or unknown parameter", "hello", "", UnknownSymbol, ENOENT},
		{"insmod: error inserting 'hello.ko': -1 Invalid module format", "hello", "", Vermagic, ENOEXEC},
		{"systemd-modules-load[123]: Failed to insert module 'hello': Key was rejected by service", "hello", "", Untrusted, EKEYREJECTED},
		{"modprobe: FATAL: Module foo not found in directory /lib/modules/6.1.0", "foo", "", DepNotStaged, 0},
		{"request_module: modprobe net-pf-10 cannot be processed, kmod busy with 50 threads for more than 5 seconds now", "net-pf-10", "", "", 0},
		{"request_module: kmod_concurrent_max (0) close to 0 (max_modprobes: 50), for module net-pf-10, throttling...", "net-pf-10", "", "", 0},
		{"request_module: runaway loop modprobe net-pf-10", "net-pf-10", "", "", 0},
	} {
		e, ok := Explain("[    1.000000] "+c.line, 0)
		if !ok || e.Module != c.module || e.Symbol != c.symbol || e.Rule != c.rule || e.Errno != c.errno {
			t.Errorf("%s: %v, module %q, symbol %q, %v, %v", c.line, ok, e.Module, e.Symbol, e.Rule, e.Errno)
		}
		if e.Meaning == "" || len(e.Causes) == 0 && e.Errno != 0 {
			t.Errorf("%s: meaning %q, causes %q", c.line, e.Meaning, e.Causes)
		}
	}
}

// A modprobe of another machine shows in the module that the kernel asks for, in the words
// of kernels today, of those since 4.13, and of those before.
func TestExplainWrongModprobe(t *testing.T) {
	for _, line := range []string{
		"request_module: modprobe binfmt-464c cannot be processed, kmod busy with 50 threads for more than 5 seconds now",
		"request_module: kmod_concurrent_max (0) close to 0 (max_modprobes: 50), for module binfmt-464c, throttling...",
		"request_module: runaway loop modprobe binfmt-464c",
	} {
		e, ok := Explain("[    6.250000] "+line, 0)
		if !ok || e.Text != line || e.Meaning != wrongModprobeMeaning || len(e.Causes) != len(wrongModprobeCauses) {
			t.Errorf("%s: %v, %+v", line, ok, e)
		}
	}
}

// The rest of a boot log is passed over.
func TestExplainPassesOver(t *testing.T) {
	for _, line := range []string{
		"", "[    0.000000] Linux version 6.12.107+deb13-riscv64 (debian-kernel@lists.debian.org) #1 SMP",
		"[    0.100000] Kernel command line: module_blacklist=foo root=/dev/vda",
		"[    1.000000] random: crng init done", "[    1.5] virtio_blk virtio0: [vda] 8192 512-byte logical blocks",
		"[    2.0] EXT4-fs (vda1): mounted filesystem", "systemd[1]: Failed to start foo.service: Invalid argument",
		"[    0.1] Modules linked in:", "cp: can't stat 'hello.ko': No such file or directory",
	} {
		if e, ok := Explain(line, 0); ok {
			t.Errorf("%q is taken for %+v", line, e)
		}
	}
}

// The number of a relocation is that of the machine.
func TestExplainMachine(t *testing.T) {
	for _, c := range []struct {
		line    string
		machine elf.Machine
		want    string
	}{
		{"m: Unknown relocation type 64", 0, "the call returns EINVAL (22, \"Invalid argument\")"}, // riscv has none
		{"m: Unknown relocation type 64", elf.EM_LOONGARCH, "relocation type 64 is R_LARCH_B16"},
		{"m: Unknown rela relocation: 9", elf.EM_RISCV, "relocation type 9 is R_X86_64_GOTPCREL"},
		{"Invalid architecture in ELF header: 62", 0, "machine 62 is x86_64"},
	} {
		e, _ := Explain(c.line, c.machine)
		if len(e.Decoded) == 0 || e.Decoded[0] != c.want {
			t.Errorf("%s: %q", c.line, e.Decoded)
		}
	}
}

// Every message can be found by its own text, and is not shadowed by one before it.
func TestMessagesReachable(t *testing.T) {
	fill := strings.NewReplacer("{module}", "mod", "{symbol}", "sym", "{errno}", "-5", "{number}", "7", "{text}", "txt", "{address}", "ffff",
		"{type}", "99", "{unwind}", "57", "{tls}", "29", "{dynamic}", "3", "{machine}", "62", "{tool}", "modprobe: ERROR: could not insert 'mod': ")
	all := patterns()
	for i := range all {
		line := fill.Replace(all[i].text)
		if hit, _ := find(line, all[i].machine); hit != &all[i] {
			t.Errorf("%q is not found by its own text", line)
		}
		if !strings.Contains(strings.ToLower(line), all[i].literal) || len(all[i].literal) < 5 {
			t.Errorf("%q: literal %q", line, all[i].literal)
		}
		if all[i].rule != "" && all[i].rule.Meaning() == "" {
			t.Errorf("%q: rule %s has no meaning", line, all[i].rule)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("[   12.345678] hello: Unknown relocation type 57")
	f.Add("modprobe: ERROR: could not insert 'x': Invalid argument")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := Explain(line, 0)
		if ok != (e.Meaning != "") {
			t.Fatalf("%v, %+v", ok, e)
		}
		if ok && !strings.Contains(colour().ReplaceAllString(line, ""), e.Text) {
			t.Fatalf("the text %q is not in the line", e.Text)
		}
	})
}

// What two kernels said in qemu, all of it, with what the call returned.
func TestLabExplain(t *testing.T) {
	rows := strings.Split(strings.TrimSuffix(string(kotest.LabSharedFile(t, "oot/expected.tsv")), "\n"), "\n")[1:]
	if len(rows) < 64 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		columns := strings.Split(row, "\t")
		file, errno, log := columns[2], columns[5], columns[6]
		if log == "" {
			continue // the kernel was silent
		}
		var last Explanation
		for _, line := range strings.Split(log, " | ") {
			e, ok := Explain("[   12.345678] "+line, 0)
			if !ok || e.Text != line {
				t.Errorf("%s: %q is not known, or read as %q", file, line, e.Text)
			}
			last = e
		}
		if got := strconv.Itoa(int(last.Errno)); got != errno {
			t.Errorf("%s: %q stands for %s, the call returned %s", file, last.Text, got, errno)
		}
	}
}
