// Package fire puts the booking example under fire: many clients fight for
// seats through all instances while replicas, sidecars, instances and ZooKeeper
// are stopped, killed and started again. Everything that was sent and answered
// is kept in a History, and Check says afterwards which promises were broken:
//
//   - every seat is booked at most once, and every key stands for one booking;
//   - every acknowledged booking is there, with its customer;
//   - who was refused was refused because somebody else had the seat;
//   - after a booking was acknowledged no instance shows the seat as free, at
//     strong, or at session with the booking's token.
//
// The same look at eventual must show a free seat now and then: otherwise the
// run has not made replicas late, and has proven nothing.
package fire
