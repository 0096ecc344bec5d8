// Package machine tells which kernel modules a machine asks for: by its device
// tree, by the devices that it showed when it ran, or by a short list of what its
// kind has. It returns choices for package closure.
package machine
