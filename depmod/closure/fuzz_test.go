package closure_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/closure"
	"github.com/kstage/kstage/internal/kotest"
)

// FuzzConfig: whatever modprobe.d says of the small tree, the work ends, each line is
// taken or reported, and the order stays one in which modules can be loaded.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"softdep ext4 pre: vfat nic post: ext4\nsoftdep vfat pre: ext4", "alias * ext4\nalias [ x\nblacklist nic\n", "weakdep jbd2 fs-vfat phy\\\n nic\ninstall x y\nremove x\noptions", "softdep\tcrc\tjbd2 ext4"} {
		f.Add([]byte(seed), "ext4")
	}
	f.Add([]byte("alias a-b crc\n"), "!crc")
	fsys := make(map[string]string)
	for p, text := range filesystems {
		fsys[dir+"/"+p] = text
	}
	tree, err := depmod.Scan(context.Background(), kotest.FS(f, fsys), dir, depmod.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, conf []byte, choice string) {
		var config closure.Config
		problems := config.Parse("x.conf", conf)
		if lines := bytes.Count(conf, []byte("\n")) + 1; len(problems)+len(config.Aliases)+len(config.Blacklist) > lines {
			t.Errorf("%d lines make %+v and %v", lines, config, problems)
		}
		c, err := closure.New(tree, config)
		if err != nil {
			t.Fatal(err)
		}
		set, err := c.Resolve([]closure.Choice{{Text: choice}})
		if (err == nil) == (set == nil) {
			t.Fatalf("%v, %v", set, err)
		}
		if set != nil {
			checkOrder(t, set)
		}
	})
}

// FuzzList: a list that is taken is taken line by line, and says the same when it is
// written again.
func FuzzList(f *testing.F) {
	f.Add([]byte("ext4\n?virtio_blk # where it is no part of the kernel\n\n  # all\n!kernel/drivers/gpu/\nof:*acme,*\n"))
	f.Add([]byte("a b\n"))
	f.Add([]byte("x[\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		choices, err := closure.ParseList("list", data)
		if err != nil {
			if choices != nil || !strings.HasPrefix(err.Error(), "list:") {
				t.Fatalf("%v, %v", choices, err)
			}
			return
		}
		var again bytes.Buffer
		for _, c := range choices {
			if c.Optional {
				again.WriteString("?")
			}
			again.WriteString(c.Text + "\n")
		}
		same, err := closure.ParseList("list", again.Bytes())
		if err != nil || len(same) != len(choices) {
			t.Fatalf("%q: %v, then %v, %v", data, choices, same, err)
		}
		for i, c := range same {
			if c.Text != choices[i].Text || c.Optional != choices[i].Optional {
				t.Errorf("%v, then %v", choices[i], c)
			}
		}
	})
}
