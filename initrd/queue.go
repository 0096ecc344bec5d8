package initrd

import (
	"bytes"
	"io"
)

// A queue compresses frames side by side and writes them in order.
type queue struct {
	out     io.Writer
	most    int    // frames that are compressed at a time
	running []*job // the first of them is the next to be written
	idle    []*job // for their buffers
}

// A job is a frame before and after.
type job struct {
	raw    bytes.Buffer
	packed []byte
	done   chan error
}

// next returns a job to fill with a frame, when there is a processor for it.
func (q *queue) next() (*job, error) {
	if err := q.drain(q.most - 1); err != nil {
		return nil, err
	}
	if n := len(q.idle); n > 0 {
		j := q.idle[n-1]
		q.idle = q.idle[:n-1]
		return j, nil
	}
	return &job{done: make(chan error, 1)}, nil
}

// start compresses the frame in j.
func (q *queue) start(j *job, c Compression) {
	q.running = append(q.running, j)
	go func() {
		var err error
		j.packed, err = c.frame(j.packed[:0], j.raw.Bytes())
		j.done <- err
	}()
}

// drain writes the frames that are done, and waits for more, until no more than
// n are running.
func (q *queue) drain(n int) error {
	for len(q.running) > n {
		j := q.running[0]
		q.running = q.running[1:]
		if err := <-j.done; err != nil {
			return err
		}
		if _, err := q.out.Write(j.packed); err != nil {
			return err
		}
		j.raw.Reset()
		q.idle = append(q.idle, j)
	}
	return nil
}

// wait ends what is running, after an error.
func (q *queue) wait() {
	for _, j := range q.running {
		if err := <-j.done; err != nil {
			continue // the first error is the one to tell
		}
	}
	q.running = nil
}
