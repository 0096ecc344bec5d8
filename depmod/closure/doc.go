// Package closure works out which kernel modules a choice takes: those that are
// named, and whatever they need, in an order in which they can be loaded.
package closure
