//go:build unix

package boottest

import (
	"cmp"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// How a boot by U-Boot can end, with programs that stand in for qemu.
func TestUBootDialogue(t *testing.T) {
	const long, short = time.Minute, 2 * time.Second
	const prompt = `printf 'Hit any key to stop autoboot:  2 '; dd bs=1 count=1 2>/dev/null
printf '\r\n=> '; read -r line; echo "$line"; printf '\r\n=> '; read -r line; echo "$line"
`
	const said = "Hit any key to stop autoboot:  2  \n=> setenv bootargs console=ttyS0 panic=-1\n\n=> bootm $x\n"
	tests := []struct {
		name, script string
		silence      time.Duration
		console, err string
	}{
		{"boots", prompt + `printf '[    0.000000] Linux\r\n'`, long, said + "[    0.000000] Linux\n", ""},
		{"refuses", prompt + `printf 'Wrong Image\r\n=> '; exec sleep 60`, long, said + "Wrong Image\n=> ", errPrompt.Error()},
		{"hangs", prompt + "exec sleep 60", short, said, errSilent.Error()},
		{"no prompt", "echo U-Boot; exec sleep 60", short, "U-Boot\n", errSilent.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			qemu := filepath.Join(t.TempDir(), "qemu")
			writeFile(t, qemu, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755)
			t.Parallel() // not before: a script that some fork still holds open cannot be run
			console, err := UBoot{Timeout: long, Command: "bootm $x"}.boot(t, qemu, tt.silence)
			if console != tt.console || fmt.Sprint(err) != cmp.Or(tt.err, "<nil>") {
				t.Errorf("console %q, error %v\nwant %q, %s", console, err, tt.console, tt.err)
			}
		})
	}
}
