// Package main answers how many processors, servers and connections a booking
// service needs for a given load, from what was measured.
//
//	go run ./internal/capacity                 writes docs/capacity.md and docs/capacity.svg anew
//	go run ./internal/capacity measure NAME…   measures inputs again and writes them to measured.json
//
// The model ([Answer]) is arithmetic on processor time: rate times cost, with a
// margin. Its inputs stand in measured.json, each with the command that
// measured it; what cannot be measured in advance, such as how large a machine
// one can buy, stands in [Assumptions]. docs/capacity.md says what the model
// leaves out.
package main
