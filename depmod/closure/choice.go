package closure

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/kstage/kstage/internal/lazyregexp"
)

// A Choice is one wish for modules, or against some.
type Choice struct {
	// Text is what is wanted, with a '!' in front what is not:
	//
	//	ext4  virtio-net              a module's name, or any alias of one
	//	snd_soc_*                     names, as a pattern
	//	kernel/drivers/usb/           all below a directory; kernel/ may be left out
	//	kernel/fs/ext4/ext4.ko        a file; what follows the module's name may be left out
	//	kernel/drivers/*/phy/**       files, as a pattern of their paths
	//	pci:v00001AF4d00001000…       an alias, as a device or the kernel asks for it
	//	of:*starfive,jh7110*          aliases, as a pattern of their texts
	//	symbol:crc32c                 the module that exports the symbol
	Text string
	// From tells where the wish stands, for messages: a file and line, an option.
	From string
	// Device makes Text the modalias of a device and nothing else: whatever it
	// holds, it is looked up among the aliases.
	Device bool
	// Optional makes it no error when nothing has that name.
	Optional bool
}

func (c Choice) String() string {
	if c.From == "" {
		return c.Text
	}
	return c.From + ": " + c.Text
}

// Devices turns the modaliases of devices into choices. A device without a module
// is no error: most have their drivers in the kernel, some have none.
func Devices(from string, modaliases []string) []Choice {
	choices := make([]Choice, len(modaliases))
	for i, alias := range modaliases {
		choices[i] = Choice{Text: alias, From: from, Device: true, Optional: true}
	}
	return choices
}

// maxChoice bounds one line of a list, in bytes. kmod cuts aliases at 4095.
const maxChoice = 4096

// ParseList reads a list of choices, one a line, as [Choice.Text] describes them.
// Blanks around them, empty lines, and what follows a '#' at the beginning of a line
// or behind a blank count for nothing. A '?' in front makes a choice optional. name
// stands in [Choice.From] and in errors.
func ParseList(name string, data []byte) ([]Choice, error) {
	var choices []Choice
	number := 0
	for line := range bytes.Lines(data) {
		number++
		at := fmt.Sprintf("%s:%d", name, number)
		if len(line) > maxChoice {
			return nil, fmt.Errorf("%s: the line has %d bytes, more than %d", at, len(line), maxChoice)
		}
		text := strings.TrimSpace(comment().ReplaceAllString(strings.TrimSpace(string(line)), ""))
		if text == "" {
			continue
		}
		c := Choice{From: at}
		c.Text, c.Optional = strings.CutPrefix(text, "?")
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		choices = append(choices, c)
	}
	return choices, nil
}

var comment = lazyregexp.New(`(^|\s)#.*$`)

// check tells what is wrong with a choice, whatever the tree may hold.
func (c Choice) check() error {
	text := strings.TrimPrefix(c.Text, "!")
	switch {
	case text == "":
		return fmt.Errorf("%q names nothing", c.Text)
	case c.Device:
		return nil
	case strings.ContainsAny(text, " \t\n\x00"):
		return fmt.Errorf("%q has a blank in it: name one module, directory or alias at a time", c.Text)
	}
	if _, err := path.Match(text, ""); err != nil && isPattern(text) {
		return fmt.Errorf("%q is no pattern: %w", c.Text, err)
	}
	return nil
}

func isPattern(text string) bool { return strings.ContainsAny(text, "*?[") }
