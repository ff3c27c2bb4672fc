// Package parserfuzz holds the differential tests of the classifier: PostgreSQL's
// own parser (pg_query, through cgo) and a real standby judge what the classifier
// calls a read, over PostgreSQL's regression tests, over mutations of them and over
// statements made at random. It is a module of its own, so that nobody else pays
// for the parser.
//
// The regression tests are taken from build/, where make conformance puts
// PostgreSQL's source, or from the folder that -corpus names; a small excerpt in
// testdata stands in for them. By default few statements are made, and only the
// excerpt is run. The full length:
//
//	go test -v -timeout 3h . -args -whole -statements 1000000
//
// A C compiler is needed; building the parser takes a minute or two once.
package parserfuzz
