//go:build race

package apitoken_test

func init() { raceEnabled = true }
