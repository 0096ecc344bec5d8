package depmod

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/kstage/kstage/modinfo"
)

// A Sum stands for something: a SHA-256. The zero Sum stands for nothing.
type Sum = digest

// indexSum is the sum of what an index takes of a module, besides its place.
func indexSum(m *modinfo.Module) digest {
	var b []byte
	for _, f := range m.Fields {
		if inIndex(f.Key) {
			b = appendString(appendString(b, f.Key), f.Value)
		}
	}
	b = appendString(b, "")
	for _, e := range m.Exports {
		b = appendString(b, e.Name)
	}
	b = appendString(b, "")
	for _, i := range m.Imports {
		b = append(appendString(b, i.Name), byte(i.Bind))
	}
	return sha256.Sum256(b)
}

// inIndex tells whether a field of .modinfo gets into an index.
func inIndex(key string) bool { return key == "alias" || key == "softdep" || key == "weakdep" }

// mayBeSame tells whether it can be known without looking into the modules what the
// index is made from.
func (o *Options) mayBeSame() bool {
	return o.Same != nil && o.Cache != nil && o.Kernel == nil && o.MaxModuleSize == 0
}

// brief tells whether of modules that the cache knows no more is wanted than index files
// are made from, and all of that is known by numbers.
func (o *Options) brief() bool { return o.mayBeSame() && o.numbered() }

// madeFrom finds out what the index files will be made from; the zero Sum where that is
// not known. It reads what has changed.
func (t *Tree) madeFrom(ctx context.Context, o Options) (Sum, error) {
	var changed []*Module
	o.Cache.loading.Wait()
	for _, m := range t.Modules {
		if m.remembered = o.Cache.unchanged(m); m.remembered == nil {
			changed = append(changed, m)
		}
	}
	if err := t.readModules(ctx, o, changed); err != nil {
		return Sum{}, err
	}
	h := sha256.New()
	b := appendString([]byte{byte(t.compat), t.prefix}, t.Dir)
	h.Write(b)
	for _, m := range t.Modules {
		var sum digest
		switch {
		case m.remembered != nil:
			sum = m.remembered.index
		case m.Info != nil:
			sum = indexSum(m.Info)
		}
		b = append(appendString(b[:0], m.Path), sum[:]...)
		h.Write(b)
	}
	for _, l := range t.lists() {
		if !l.present {
			return Sum{}, nil
		}
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(l.data))))
		h.Write(l.data)
	}
	return Sum(h.Sum(nil)), nil
}

// hasLists tells whether all the lists are the tree's own.
func (t *Tree) hasLists() bool {
	return !slices.ContainsFunc(t.lists(), func(l list) bool { return l.made != "" || !l.present })
}
