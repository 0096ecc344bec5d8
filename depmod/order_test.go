package depmod

import "testing"

// The vectors were computed with kmod's own hash function.
func TestSuperFastHash(t *testing.T) {
	for s, want := range map[string]uint32{
		"a": 0x115ea782, "zz": 0xed4d6942, "a_b": 0x7a9c1561, "ext4": 0xe679ab16, "mod_simple": 0xc36268bc,
		"snd_hda_intel": 0x6e4028a1, "printk": 0x6a0863d1, "drm_need_swiotlb": 0x28531800, "": 0,
	} {
		if got := superFastHash(s); got != want {
			t.Errorf("%q: %08x, want %08x", s, got, want)
		}
	}
}

func TestScanUint(t *testing.T) {
	for _, c := range []struct {
		alias, want string
		ok          bool
	}{
		{"char-major-10-200", "c10:200", true},
		{"char-major-10-200-x", "c10:200", true},
		{"char-major-21-*", "", false},
		{"char-major-", "", false},
		{"char-major- +4- 5", "c4:5", true},
		{"char-major-4 -5", "", false},
	} {
		got, ok := deviceNumber(c.alias, "char-major-", 'c')
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%q: %q, %v", c.alias, got, ok)
		}
	}
}
