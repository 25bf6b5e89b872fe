// Package benchmarks measures what authenticating a request costs: with this
// library, with the least that could be written by hand, and with what a service
// would use otherwise. Everything does the same work, as far as it can:
//
//   - accept one of 65,536 valid tokens in rotation, out of 100,000, that has the
//     2 permissions which the route requires among its 20; the handler reads who
//     made the request and answers 200;
//   - refuse a request without a token, with a text that is no token, with a token
//     that nobody has issued, or without a permission.
//
// Of the library alone it measures what nothing else here has: tokens in the query,
// millions of them in memory and in databases, none in memory, and floods of unknown ones.
//
// An [Impl] is one way of doing that. Impls lists them, with what had to be added
// to a library that does not do all of it. The dependencies stay in this module.
//
// The command run measures and writes docs/benchmarks.md.
package benchmarks
