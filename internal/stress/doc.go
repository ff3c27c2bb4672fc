// Package stress holds the tests that try to catch pgroute telling a stale
// answer: real servers whose replay is paused and delayed, replicas that
// restart, a primary that crashes and one that is replaced, and clients that
// read what they have just written. Beside them stand small tests, one for
// each rule that the answers depend on, and a build (pgroute_mutants) that
// switches off one rule after the other to show that it is noticed.
//
// There is nothing to import here.
package stress
