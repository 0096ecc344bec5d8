package machine

import (
	"slices"
	"strings"
	"testing"
)

// The lists are short and say what they are for; the names stand in the error.
func TestProfiles(t *testing.T) {
	all := Profiles()
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
		if p.About == "" || len(p.About) > 80 || strings.HasPrefix(p.About, "#") || len(p.Choices) == 0 || len(p.Choices) > 12 {
			t.Errorf("%s: %q, %v", p.Name, p.About, p.Choices)
		}
		for _, c := range p.Choices {
			if !strings.HasPrefix(c.From, "profile "+p.Name+":") || c.Device {
				t.Errorf("%+v", c)
			}
		}
	}
	if !slices.IsSorted(names) || len(names) < 10 {
		t.Error(names)
	}
	p, err := FindProfile("ext4")
	if err != nil || len(p.Choices) != 1 || p.Choices[0].Text != "ext4" || p.Choices[0].Optional {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := FindProfile("ext5"); err == nil || !strings.Contains(err.Error(), `there is no profile "ext5", only 9p, btrfs, erofs, ext4,`) {
		t.Error(err)
	}
}
