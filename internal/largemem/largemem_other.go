//go:build !linux

package largemem

func huge(int) []byte { return nil }
