package kernel

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// AddBuiltIn puts in a modules.builtin: the modules that are part of the kernel, one
// a line, "kernel/fs/ext4/ext4.ko". Errors name the line.
func (f *Facts) AddBuiltIn(r io.Reader) error {
	names := make(map[string]bool)
	err := eachLine(r, func(line string) error {
		name, ok := strings.CutSuffix(path.Base(line), ".ko")
		if !ok || name == "" {
			return fmt.Errorf("%.40q is no module", line)
		}
		names[strings.ReplaceAll(name, "-", "_")] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("modules that are built in: %w", err)
	}
	if f.BuiltIn == nil {
		f.BuiltIn = names
	}
	return nil
}
