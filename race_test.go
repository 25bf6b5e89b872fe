//go:build race

package apitoken

func init() { RaceEnabled = true }
