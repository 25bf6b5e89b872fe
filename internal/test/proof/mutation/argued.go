package main

// arguedSeeds are the seeds that no test can notice, and why.
var arguedSeeds = map[string]string{
	"digests are compared in a time that depends on them": "How long a comparison takes is not to be seen in a test of the root package that must not fail by chance. Digests are hashes of what was presented, so that an attacker cannot choose how much of them agrees.",
	"an encrypted secret is not compared with the digest": "The digest is part of the data that the secret is encrypted with: what does not fit it does not open. The comparison stands in case that is ever changed.",
	"the feed's moment is read after the entry":           "It shows only where a change and a moment of the feed come between two instructions of a request. The order is argued at its place.",
	"a change of a certain version is tried again":        "The second try finds another version than was asked for, and ends with the same error.",
}

// An argument is why no test can notice what the mutator does to a function.
type argument struct {
	in   string
	edit edit
	why  string
}

var argued []argument // none today
