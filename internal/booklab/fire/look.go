package fire

import (
	"context"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// look asks an instance for the seat of a, which is taken by now, and another
// one if that does not answer.
func (r *Run) look(ctx context.Context, at *lab.Instance, a Attempt, how api.How) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tries := 1; ; tries++ {
		began := r.History.now()
		seats, err := r.client.Seats(ctx, at.URL(), a.Place.Slot, a.Place.Room, how)
		if err == nil {
			r.seen(a, how, seats, Look{Attempt: a.ID, Level: how.Level, Token: how.Token != "", Began: began, Ended: r.History.now(), Route: seats.Route})
			return
		}
		if answer, ok := answered(err); ok && answer.Status < 500 {
			// It was asked for nothing unusual: as good as an odd attempt.
			r.History.replay(Replay{Attempt: a.ID, At: r.History.now(), Err: "look at " + how.Level + ": " + answer.Error()})
			return
		}
		if ctx.Err() != nil {
			r.History.unanswered()
			return
		}
		rest(ctx, tries)
		at = r.other(a.Route.Instance)
	}
}

// seen notes what a read showed: the seat that was asked for, and, at strong,
// every other seat of the room that is free there although its booking had been
// acknowledged to anybody before the read began.
func (r *Run) seen(a Attempt, how api.How, seats *api.Seats, l Look) {
	list := make([]Look, 0, 1)
	for _, s := range seats.Seats {
		this := l
		this.Place = Place{Slot: a.Place.Slot, Room: a.Place.Room, Seat: s.ID}
		this.Taken, this.By = s.Taken, s.BookedBy
		if s.ID == a.Place.Seat {
			list = append(list, this)
			continue
		}
		if how.Level != strongLevel || s.Taken {
			continue
		}
		place, ours := r.index[this.Place.where()]
		if !ours {
			continue
		}
		if sold := r.sold[place].Load(); sold != 0 && sold < int64(l.Began) {
			this.Attempt = int(r.buyer[place].Load())
			list = append(list, this)
		}
	}
	r.History.look(list...)
}
