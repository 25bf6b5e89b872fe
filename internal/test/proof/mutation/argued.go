package main

// arguedSeeds are the seeds that no test can notice, and why.
var arguedSeeds = map[string]string{
	"digests are compared in a time that depends on them": "How long a comparison takes is not to be seen in a test of the root package that must not fail by chance. Digests are hashes of what was presented, so that an attacker cannot choose how much of them agrees.",
	"an encrypted secret is not compared with the digest": "The digest is part of the data that the secret is encrypted with: what does not fit it does not open. The comparison stands in case that is ever changed.",
	"the feed's moment is read after the entry":           "It shows only where a change and a moment of the feed come between two instructions of a request. The order is argued at its place.",
	"a nobody is an actor":                                "The case after it refuses the empty texts as well, in other words.",
	"a change of a certain version is tried again":        "The second try finds another version than was asked for, and ends with the same error.",
}

// An argument is why no test can notice what the mutator does to a function.
type argument struct {
	in   string
	edit edit
	why  string
}

const (
	farYears = "It is about the years -10000 and 10000 alone, before which every moment is long past, and which lie ahead for every test and beyond what a Manager stores."
	anyEntry = "It changes only which of two unused entries is evicted first, or how long one is looked for: which entry goes is not promised."
	memory   = "The names of a token's permissions are then kept as they were stored: it costs memory."
)

var argued = []argument{
	{"cache.grow", drop(stmt("s.hand")), anyEntry},
	{"shard.clear", become(nth(2, expr("0")), "1"), anyEntry},
	{"cache.evict", op(expr("2*len(table) + 1"), "-"), anyEntry},
	{"cache.evict", become(expr("2*len(table) + 1"), "2*len(table) + 2"), anyEntry},
	{"cache.evict", become(expr("2*len(table)"), "3*len(table)"), anyEntry},
	{"micros", op(expr("t.Year()", "-10000"), "<="), farYears},
	{"micros", become(expr("-10000"), "-10001"), farYears},
	{"micros", op(expr("t.Year() > 10000"), ">="), farYears},
	{"micros", become(expr("t.Year() > 10000"), "t.Year() > 10001"), farYears},
	{"entry.assigned", drop(stmt("slices.Sort")), memory},
	{"entry.assigned", drop(stmt("p.name")), memory},
	{"newCache", become(expr("64"), "65"), "Half of the shards are never used: it costs time under contention."},
	{"cache.join", op(expr("f.began.age(now)", "oldest"), "<"), "At exactly that age a request may join, or make a call of its own: either keeps the promise."},
	{"Authority.fromQuery", become(expr("3*maxText"), "4*maxText"), "What is longer than three times the limit before decoding is longer than the limit after it, and refused for that: it bounds the work."},
	{"entry.note", become(expr("now.Unix()/useGrain<<3"), "now.Unix()/useGrain<<4"), "One bit more is left free between the parts of a number that is only compared."},
	{"through", become(call("make"), "make(chan result, 2)"), "One element is sent; room for more changes nothing."},
	{"Catalog.suggest", drop(stmt("maxPermissionName")), "What is suggested for a name that is too long to be one is not promised: it bounds the work."},
	{"newAuthority", become(call("max", "MaxConcurrentLookups"), "max(2, c.MaxConcurrentLookups/4)"), "It shows where MaxConcurrentLookups is less than 8: tokens in memory are then renewed two at once instead of one."},
	{"Authority.schemeOf", become(ret("-1"), "return -2"), "What is less than zero is none of our schemes."},
}
