// Package sqlclass tells what a text of SQL does, without parsing it.
//
// A hand-written scanner over PostgreSQL's lexical rules feeds a conservative
// allow-list. Three questions are answered for each text: its access (read or
// write), its effect on the transaction, and what it binds to the backend that
// runs it. What is not provably a read is a write; a call that is not provably
// free of side effects on the session pins the client and taints the backend.
//
// What names mean comes from a [Catalogue], loaded from the server itself: the
// volatility of functions and what their bodies name, which relations are
// sequences or unlogged, and what runs where a view is read, where row security
// guards a table, where a value of a user-defined type is read or made, where an
// operator or a cast is applied. A view, a guarded table or a type is as good as
// the worst that it refers to, however indirectly; what cannot be proven is not a
// read. Names are looked up in the union of all schemas, so that no search_path
// can make a verdict wrong; it can only make it more careful than necessary.
//
// The package does not decide where a statement runs, and it does not check
// syntax: what the server rejects may be classified as anything, because a text
// that does not parse runs nowhere.
//
//	var r sqlclass.Result // used again for every text
//	sqlclass.Classify([]byte("SELECT now()"), cat, sqlclass.Options{StandardConformingStrings: true}, &r)
//	if r.Access == sqlclass.AccessRead { … }
//
// Limits. A function that is wrongly declared STABLE is believed, unless its
// body names something that is on the deny list. A relation or function that was
// created after the catalogue was loaded is unknown: an unknown function is a
// write, an unknown relation is taken for a table. Text search dictionaries are
// not looked into. The functions in C of some well-known extensions are believed
// to be what they are declared to be; those of others only behind operators and
// operator classes, because they run in every comparison.
package sqlclass
