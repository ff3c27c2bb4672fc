package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/fight"
	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

const (
	// maxUsers bounds a fight.
	maxUsers = 500
	// fightTimeout bounds it too.
	fightTimeout = 90 * time.Second
)

// postFight lets many users want one seat.
func (a *API) postFight(w http.ResponseWriter, r *http.Request) error {
	body := struct {
		Slot  int64 `json:"slot"`
		Seat  int64 `json:"seat"`
		Users int   `json:"users"`
	}{Users: 100}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	switch {
	case body.Users < 1 || body.Users > maxUsers:
		return fail(http.StatusBadRequest, "bad_users", "users must be between 1 and %d", maxUsers)
	case !possible(body.Slot):
		return store.ErrNoSlot
	case !possible(body.Seat):
		return store.ErrNoSeat
	}
	ctx, cancel := context.WithTimeout(r.Context(), fightTimeout)
	defer cancel()
	if _, _, err := a.cfg.Store.Seats(ctx, a.central(), body.Slot, 0, body.Seat); err != nil {
		return err
	}
	select {
	case a.fights <- struct{}{}:
		defer func() { <-a.fights }()
	default:
		return fail(http.StatusConflict, "fight_on", "there is a fight already")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fightTimeout + eventWrite))

	f := fight.Fight{Client: &a.fighter, Slot: body.Slot, Seat: body.Seat, Users: body.Users}
	for _, i := range a.cfg.Registry.View().Instances {
		f.Instances = append(f.Instances, i.Addr)
	}
	if len(f.Instances) == 0 {
		// ZooKeeper has been away since we started: we know only ourselves.
		f.Instances = []string{a.cfg.Addr}
	}
	// Who waits for us should know that we are at work.
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(f.Run(ctx))
	return nil
}
