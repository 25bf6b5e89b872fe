//go:build race

package testserver

func init() { watched = true }
