// Package largemem gives memory for content of megabytes that stays to the end.
package largemem

// Make gives n bytes that are zero. They are never given back: it is for what a program
// keeps as long as it runs.
//
// On Linux they come in huge pages where the system allows that. A page that is touched for
// the first time costs some microseconds in a virtual machine, more than to fill it.
func Make(n int) []byte {
	if b := huge(n); b != nil {
		return b
	}
	return make([]byte, n)
}
