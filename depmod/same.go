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

// A Part of an index are the files that are made from the same of what modules say.
type Part int

// The parts.
const (
	Needs  Part = iota // from what modules need and offer
	Offers             // from what they offer, and from the lists of built-in ones
	Words              // from their aliases and their soft and weak dependencies
	parts
)

// Sums are those of the parts.
type Sums [parts]Sum

// PartOf tells which part a file of an index, one of [IndexNames], belongs to.
func PartOf(name string) Part {
	switch name {
	case "modules.dep", "modules.dep.bin":
		return Needs
	case "modules.alias", "modules.alias.bin", "modules.softdep", weakdepName, "modules.devname":
		return Words
	}
	return Offers
}

// indexSums are of what the parts of an index take of a module, besides its place.
func indexSums(m *modinfo.Module) (sums Sums) {
	var b []byte
	for _, e := range m.Exports {
		b = appendString(b, e.Name)
	}
	sums[Offers] = sha256.Sum256(b)
	b = appendString(b, "")
	for _, i := range m.Imports {
		b = append(appendString(b, i.Name), byte(i.Bind))
	}
	sums[Needs] = sha256.Sum256(b)
	b = b[:0]
	for _, f := range m.Fields {
		if inIndex(f.Key) {
			b = appendString(appendString(b, f.Key), f.Value)
		}
	}
	sums[Words] = sha256.Sum256(b)
	return sums
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

// madeFrom finds out what the index files will be made from; zero Sums where that is not
// known. It reads what has changed.
func (t *Tree) madeFrom(ctx context.Context, o Options) (made Sums, err error) {
	var changed []*Module
	o.Cache.loading.Wait()
	for _, m := range t.Modules {
		if m.remembered = o.Cache.unchanged(m); m.remembered == nil {
			changed = append(changed, m)
		}
	}
	if err := t.readModules(ctx, o, changed); err != nil {
		return Sums{}, err
	}
	if slices.ContainsFunc(t.lists(), func(l list) bool { return !l.present }) {
		return Sums{}, nil
	}
	sums := make([]Sums, len(t.Modules))
	for i, m := range t.Modules {
		switch {
		case m.remembered != nil:
			sums[i] = m.remembered.index
		case m.Info != nil:
			sums[i] = indexSums(m.Info)
		}
	}
	for part := range parts {
		made[part] = t.sum(part, sums)
	}
	return made, nil
}

// sum is that of what a part is made from, given the sums of the modules.
func (t *Tree) sum(part Part, modules []Sums) Sum {
	h := sha256.New()
	b := appendString([]byte{byte(part), byte(t.compat), t.prefix}, t.Dir)
	h.Write(b)
	for i, m := range t.Modules {
		b = append(appendString(b[:0], m.Path), modules[i][part][:]...)
		h.Write(b)
	}
	for _, l := range t.lists() {
		if part == Offers || l.name == orderName {
			h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(l.data))))
			h.Write(l.data)
		}
	}
	return Sum(h.Sum(nil))
}

// AllSame tells whether there is nothing to be made.
func (t *Tree) AllSame() bool { return !slices.Contains(t.Same[:], false) }

// hasLists tells whether all the lists are the tree's own.
func (t *Tree) hasLists() bool {
	return !slices.ContainsFunc(t.lists(), func(l list) bool { return l.made != "" || !l.present })
}
