package api

import (
	"errors"
	"net/http"

	"github.com/pgroute/pgroute/examples/booking/internal/store"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// Where a customer's token travels: in the header for programs, in the cookie
// for browsers.
const (
	tokenHeader = "Pgroute-Token"
	tokenCookie = "pgroute_token"
)

// central returns what a read must see by the central configuration, now.
func (a *API) central() store.Need {
	s := a.cfg.Registry.View().Settings
	return store.Need{Level: s.Consistency, Wait: s.Wait, OnTimeout: s.OnTimeout}
}

// need returns what this request's reads must see.
func (a *API) need(r *http.Request) (store.Need, error) {
	need := a.central()
	word := r.Header.Get("X-Consistency")
	if word == "" {
		word = r.URL.Query().Get("consistency")
	}
	if word != "" {
		level, err := router.ParseLevel(word)
		if err != nil {
			return need, fail(http.StatusBadRequest, "bad_consistency", "%v: it is one of eventual, bounded, session, strong, primary", err)
		}
		need.Level = level
	}
	if need.Token = r.Header.Get(tokenHeader); need.Token != "" {
		if _, err := lsn.ParseToken(need.Token); err != nil {
			return need, errors.Join(store.ErrBadToken, err)
		}
	}
	return need, nil
}

// withCookie runs a read, with the cookie's token if the header has none. A
// browser cannot help what is in its cookie: where a header would be refused,
// the read is made at strong instead, which sees all that any token of this
// cluster could stand for, and the cookie is removed.
func withCookie(w http.ResponseWriter, r *http.Request, need store.Need, read func(store.Need) error) error {
	cookie, err := r.Cookie(tokenCookie)
	if err != nil || need.Token != "" || need.Level != router.LevelSession {
		return read(need)
	}
	need.Token = cookie.Value
	err = read(need)
	if errors.Is(err, store.ErrBadToken) {
		http.SetCookie(w, &http.Cookie{Name: tokenCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		need.Token, need.Level = "", router.LevelStrong
		err = read(need)
	}
	return err
}

// giveToken hands the token of a write to the client.
func giveToken(w http.ResponseWriter, token string) {
	w.Header().Set(tokenHeader, token)
	http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
