//go:build !race

package pgxdb_test

const raceEnabled = false
