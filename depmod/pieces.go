package depmod

// pieces gives slices of its memory away: some large pieces are made faster than many small
// ones.
type pieces[T any] struct{ memory []T }

func (p *pieces[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n > len(p.memory) {
		p.memory = make([]T, max(n, 2048))
	}
	piece := p.memory[:n:n]
	p.memory = p.memory[n:]
	return piece
}

// copy gives a copy of a slice; nil if there is nothing in it.
func (p *pieces[T]) copy(from []T) []T {
	to := p.take(len(from))
	copy(to, from)
	return to
}
