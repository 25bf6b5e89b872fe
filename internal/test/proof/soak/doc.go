// Package soak runs a service for a long time: requests of all kinds over HTTP,
// revocations among them, each answer held against a model; and looks whether
// memory, goroutines and file descriptors grow.
package soak
