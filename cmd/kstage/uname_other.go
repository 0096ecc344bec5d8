//go:build !linux

package main

// runningKernel: a system that runs no Linux has no modules to index by default.
func runningKernel() string { return "" }
