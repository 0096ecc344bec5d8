package preflight

import (
	"bytes"
	"context"
	"io/fs"
	"path"

	"github.com/kstage/kstage/depmod"
)

// Tree tells what would become of each module below dir (lib/modules/VERSION) of a
// tree that modprobe loads: what it needs is there before, when it is in the tree.
func (c *Check) Tree(ctx context.Context, fsys fs.FS, dir string, progress func(done, total int)) ([]Result, error) {
	t, err := depmod.Scan(ctx, fsys, dir, depmod.Options{MaxModuleSize: c.MaxModuleSize})
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(t.Modules))
	for i, m := range t.Modules {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		loaded := new(Loaded)
		for _, needed := range m.Deps {
			name := path.Join(t.Dir, needed.Path)
			if data, err := fs.ReadFile(fsys, name); err == nil {
				c.Load(name, bytes.NewReader(data), int64(len(data)), loaded)
			}
		}
		name := path.Join(t.Dir, m.Path)
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		results[i] = c.File(name, bytes.NewReader(data), int64(len(data)), loaded)
		if progress != nil {
			progress(i+1, len(t.Modules))
		}
	}
	return results, nil
}
