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
}

type digest = [sha256.Size]byte

// made tells what index files were made from.
type made struct{ from, files Sum }

// mostMade is how many trees of one version are told apart.
const mostMade = 8

// remembered is what one content says.
type remembered struct {
	content digest
	id      fileid.ID // zero when it cannot be trusted
	index   digest    // of what an index takes of the facts
	full    bool      // read without WithoutCRCs
	age     uint64    // how many times the cache was written since it was asked for
	facts   string    // see cachefile.go
}

// oldest is after how many runs without use an entry goes.
const oldest = 3

// mostPacked is the largest file that is remembered, in bytes; it is read whole.
const mostPacked = 64 << 20

// NewCache is one that remembers nothing yet. program names who made it: another
// program, or another version of it, may see other facts in a module, and does not
// take its.
func NewCache(program string) *Cache {
	return &Cache{program: program, now: time.Now, byID: make(map[fileid.ID]*remembered), byContent: make(map[digest]*remembered)}
}

// LoadCache is [ReadCache] of what read returns, which goes on when it has returned: a
// [Scan] first looks for the modules. An error of read makes an empty cache.
func LoadCache(read func() ([]byte, error), program string) *Cache {
	c := NewCache(program)
	c.loading.Go(func() {
		data, err := read()
		if err != nil {
			return
		}
		loaded := ReadCache(data, program)
		c.byID, c.byContent, c.names, c.made = loaded.byID, loaded.byContent, loaded.names, loaded.made
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
	file    bytes.Buffer
	decoder decoder
}

func (r *cacheReader) full() bool { return !r.WithoutCRCs }

// remembers tells whether a file is of those that are remembered.
func (r *cacheReader) remembers(name string) bool {
	return r.cache != nil && !strings.HasSuffix(name, ".ko")
}

// unchanged gives the facts of a file that is still what it was, without opening it.
func (r *cacheReader) unchanged(file *found) (*modinfo.Module, fs.FileInfo) {
	if !r.remembers(file.real) {
		return nil, nil
	}
	info, err := file.stat()
	if err != nil {
		return nil, nil
	}
	id, ok := fileid.Of(info)
	if !ok {
		return nil, nil
	}
	return r.known(r.cache.byFile(id)), info
}

// read reads a module file.
func (r *cacheReader) read(f io.ReaderAt, info fs.FileInfo, name string) (*modinfo.Module, error) {
	size := info.Size()
	if !r.remembers(name) || size > mostPacked {
		return r.Read(f, size)
	}
	id, ok := fileid.Of(info)
	if !ok || !id.Settled(r.cache.now().UnixNano()) {
		id = fileid.ID{}
	}
	r.file.Reset()
	if _, err := io.Copy(&r.file, io.NewSectionReader(f, 0, size)); err != nil {
		return nil, err
	}
	content := digest(sha256.Sum256(r.file.Bytes()))
	if m := r.known(r.cache.find(content, id)); m != nil {
		return m, nil
	}
	m, err := r.Read(bytes.NewReader(r.file.Bytes()), int64(r.file.Len()))
	if err == nil {
		r.cache.put(&remembered{content: content, id: id, full: r.full()}, m)
	}
	return m, err
}

// known gives the facts of an entry if they are what the reader would read.
func (r *cacheReader) known(e *remembered) *modinfo.Module {
	if e == nil || r.full() && !e.full {
		return nil
	}
	m, err := r.decode(e)
	if err != nil || r.MaxSize > 0 && m.Size > r.MaxSize {
		return nil
	}
	return m
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
func (r *cacheReader) decode(e *remembered) (*modinfo.Module, error) {
	r.cache.mu.Lock()
	names := r.cache.names.list
	r.cache.mu.Unlock()
	return r.decoder.decode(e.facts, names)
}

func (c *Cache) put(e *remembered, m *modinfo.Module) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.facts, e.index = c.names.encode(m), indexSum(m)
	if old := c.byContent[e.content]; old != nil {
		delete(c.byID, old.id)
	}
	c.byContent[e.content] = e
	if e.id != (fileid.ID{}) {
		c.byID[e.id] = e
	}
	c.changed = true
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
