package depmod

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstage/kstage/internal/fileid"
	"github.com/kstage/kstage/modinfo"
)

// A Cache remembers from one [Scan] to the next what packed modules say: unpacking
// them takes nearly all of its time. A module is known again by its file's number,
// size and times, and where these are new or were too young to be trusted, by the
// SHA-256 of its content. Plain modules are not remembered: reading them anew takes
// less than that sum.
//
// A Cache may be used by several goroutines, but by one Scan at a time.
type Cache struct {
	program string
	now     func() time.Time // another clock in tests
	loading sync.WaitGroup   // done when nothing more comes from a file

	mu        sync.Mutex
	byID      map[fileid.ID]*remembered
	byContent map[digest]*remembered
	names     nameTable
	made      []made // latest first
	changed   bool
	rest      *cacheRest
}

type digest = [sha256.Size]byte

// made tells what the files of a part of an index were made from.
type made struct{ from, files Sum }

// mostMade is how many of them are told apart: those of eight trees of one version.
const mostMade = 8 * int(parts)

// remembered is what one content says.
type remembered struct {
	content  digest
	id       fileid.ID // zero when it cannot be trusted
	index    Sums      // of what an index takes of the facts
	full     bool      // read without WithoutCRCs
	age      uint64    // how many times the cache was written since it was asked for
	facts    string    // see encode
	rest     string    // likewise; "" until the rest of the file is read
	restSize int       // its length there
}

// oldest is after how many runs without use an entry goes.
const oldest = 3

// mostPacked is the largest file that is remembered, in bytes; it is read whole.
const mostPacked = 64 << 20

// NewCache is one that remembers nothing yet. program names who made it: another
// program, or another version of it, may see other facts in a module, and does not
// take its.
func NewCache(program string) *Cache {
	return &Cache{program: program, now: time.Now, byID: make(map[fileid.ID]*remembered), byContent: make(map[digest]*remembered), rest: new(cacheRest)}
}

// LoadCache is [ReadCache] of the file that open opens, which goes on when it has
// returned: a [Scan] first looks for the modules. An error of open makes an empty cache.
func LoadCache(open func() (fs.File, error), program string) *Cache {
	c := NewCache(program)
	c.loading.Go(func() {
		f, err := open()
		if err != nil {
			return
		}
		loaded := ReadCache(f, program)
		c.byID, c.byContent, c.names, c.made, c.rest = loaded.byID, loaded.byContent, loaded.names, loaded.made, loaded.rest
	})
	return c
}

// Changed tells whether there is something in it that it was not read with.
func (c *Cache) Changed() bool {
	c.loading.Wait()
	return c.changed
}

// A cacheReader reads modules, those that the cache remembers from there.
type cacheReader struct {
	modinfo.Reader
	cache   *Cache // may be nil
	brief   bool   // only what index files need
	file    bytes.Buffer
	decoder decoder
}

func (r *cacheReader) full() bool { return !r.WithoutCRCs }

// remembers tells whether a file is of those that are remembered.
func (c *Cache) remembers(name string) bool {
	return c != nil && !strings.HasSuffix(name, ".ko")
}

// unchanged gives the entry of a module whose file is still what it was, without opening
// it, and notes when it was modified.
func (c *Cache) unchanged(m *Module) *remembered {
	if !c.remembers(m.file.real) {
		return nil
	}
	info, err := m.file.stat()
	if err != nil {
		return nil
	}
	id, ok := fileid.Of(info)
	if !ok {
		return nil
	}
	m.modified = info.ModTime()
	return c.byFile(id)
}

// readModule finds out what a module says, and when its file was modified.
func (r *cacheReader) readModule(m *Module) error {
	if m.remembered == nil {
		m.remembered = r.cache.unchanged(m)
	}
	if r.take(m, m.remembered) {
		return nil
	}
	m.remembered, m.modified = nil, time.Time{}
	f, err := m.file.fsys.Open(m.file.real)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m.modified = info.ModTime()
	if at, ok := f.(io.ReaderAt); ok {
		return r.read(m, at, info)
	}
	b, err := io.ReadAll(f)
	if err == nil {
		m.Info, err = r.Read(bytes.NewReader(b), int64(len(b)))
	}
	return err
}

// read reads a module file.
func (r *cacheReader) read(m *Module, f io.ReaderAt, info fs.FileInfo) (err error) {
	size := info.Size()
	if !r.cache.remembers(m.file.real) || size > mostPacked {
		m.Info, err = r.Read(f, size)
		return err
	}
	id, ok := fileid.Of(info)
	if !ok || !id.Settled(r.cache.now().UnixNano()) {
		id = fileid.ID{}
	}
	r.file.Reset()
	r.file.Grow(int(size) + bytes.MinRead)
	if _, err := io.Copy(&r.file, io.NewSectionReader(f, 0, size)); err != nil {
		return err
	}
	content := digest(sha256.Sum256(r.file.Bytes()))
	if r.take(m, r.cache.find(content, id)) {
		return nil
	}
	if m.Info, err = r.Read(bytes.NewReader(r.file.Bytes()), int64(r.file.Len())); err == nil {
		m.remembered = &remembered{content: content, id: id, full: r.full()}
		m.asks = r.cache.put(m.remembered, m.Info)
	}
	return err
}

// take gives a module the facts of an entry, if they are what the reader would read.
func (r *cacheReader) take(m *Module, e *remembered) bool {
	if e == nil || r.full() && !e.full {
		return false
	}
	info, asks, err := r.decode(e, r.brief)
	if err != nil || r.MaxSize > 0 && info.Size > r.MaxSize {
		return false
	}
	m.Info, m.asks, m.remembered = info, asks, e
	return true
}

func (c *Cache) byFile(id fileid.ID) *remembered {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e != nil {
		c.use(e)
	}
	return e
}

// find looks for a content, which is now in the file of id.
func (c *Cache) find(content digest, id fileid.ID) *remembered {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byContent[content]
	if e == nil {
		return nil
	}
	if id != (fileid.ID{}) {
		delete(c.byID, e.id)
		e.id, c.byID[id], c.changed = id, e, true
	}
	c.use(e)
	return e
}

// use makes an entry young again. That alone need not be written, unless it is about
// to go.
func (c *Cache) use(e *remembered) {
	c.changed = c.changed || e.age >= oldest
	e.age = 0
}

// decode may run beside put: names that are there already stay where they are.
func (r *cacheReader) decode(e *remembered, brief bool) (*modinfo.Module, asks, error) {
	r.cache.mu.Lock()
	names := r.cache.names.list
	r.cache.mu.Unlock()
	if brief {
		return r.decoder.brief(e.facts, names)
	}
	r.cache.rest.read()
	return r.decoder.whole(e.facts, e.rest, names)
}

// put remembers what a module says, and gives its numbers.
func (c *Cache) put(e *remembered, m *modinfo.Module) asks {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.facts, e.rest = c.names.encode(m, e.full)
	e.index = indexSums(m)
	if old := c.byContent[e.content]; old != nil {
		delete(c.byID, old.id)
	}
	c.byContent[e.content] = e
	if e.id != (fileid.ID{}) {
		c.byID[e.id] = e
	}
	c.changed = true
	in := cursor{rest: e.facts, names: c.names.list}
	return in.asks()
}

// Made gives the sum of the index files that were made from something, if it is known.
func (c *Cache) Made(from Sum) (files Sum, known bool) {
	c.loading.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.made, func(m made) bool { return m.from == from })
	if i < 0 {
		return Sum{}, false
	}
	return c.made[i].files, true
}

// SetMade remembers which index files were made from something.
func (c *Cache) SetMade(from, files Sum) {
	if known, ok := c.Made(from); ok && known == files {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	others := slices.DeleteFunc(c.made, func(m made) bool { return m.from == from })
	c.made = slices.Insert(others, 0, made{from, files})
	c.made = c.made[:min(len(c.made), mostMade)]
	c.changed = true
}

// entries are all of them, in the order of their contents' sums.
func (c *Cache) entries() []*remembered {
	all := make([]*remembered, 0, len(c.byContent))
	for _, e := range c.byContent {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *remembered) int { return bytes.Compare(a.content[:], b.content[:]) })
	return all
}
