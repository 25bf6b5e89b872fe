package main

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"golang.org/x/crypto/argon2"
)

// A password is what is kept of one: the result of argon2id (RFC 9106) and
// what it was computed with.
type password struct {
	Passes  uint32 `json:"passes"`
	KiB     uint32 `json:"kib"`
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"`
	Hash    []byte `json:"hash"`
}

// hashSize is the size of password.Hash in bytes.
const hashSize = 32

// newPassword hashes a password with the parameters that the OWASP Password
// Storage Cheat Sheet recommends.
func newPassword(text string) password {
	p := password{Passes: 2, KiB: 19 << 10, Threads: 1, Salt: random(16)}
	p.Hash = p.hash(text)
	return p
}

func (p password) is(text string) bool {
	return subtle.ConstantTimeCompare(p.Hash, p.hash(text)) == 1
}

func (p password) hash(text string) []byte {
	return argon2.IDKey([]byte(text), p.Salt, p.Passes, p.KiB, p.Threads, hashSize)
}

// validate refuses what newPassword would not have made, or what would take too
// much time or memory to check.
func (p password) validate() error {
	if p.Passes < 1 || p.Passes > 10 || p.KiB > 64<<10 || p.Threads < 1 || len(p.Salt) < 8 || len(p.Hash) != hashSize {
		return errors.New("is no argon2id hash")
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
