package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

// state is what is known of the service and of the databases.
type state struct {
	Instance  string          `json:"instance"`
	Instances []stateInstance `json:"instances"`
	Nodes     []stateNode     `json:"nodes"`
	Config    stateConfig     `json:"config"`
	Registry  string          `json:"registry"`
}

type stateInstance struct {
	Name string `json:"name"`
	Addr string `json:"addr"`
	Via  string `json:"via"`
	Self bool   `json:"self"`
}

type stateNode struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	LagBytes int64  `json:"lag_bytes"`
	Paused   bool   `json:"paused"`
	Healthy  bool   `json:"healthy"`
	// Late is true for a replica that is held back.
	Late bool `json:"late"`
}

type stateConfig struct {
	Consistency string `json:"consistency"`
	Wait        string `json:"wait"`
	OnTimeout   string `json:"on_timeout"`
}

func configOf(s registry.Settings) stateConfig {
	return stateConfig{s.Consistency.String(), s.Wait.String(), s.OnTimeout.String()}
}

// nodesTimeout bounds the question for the servers: the state is told without
// them rather than late.
const nodesTimeout = time.Second

func (a *API) state(ctx context.Context) state {
	v := a.cfg.Registry.View()
	s := state{Instance: a.cfg.Instance, Instances: []stateInstance{}, Nodes: []stateNode{}, Config: configOf(v.Settings), Registry: "lost"}
	if v.Connected {
		s.Registry = "connected"
	}
	for _, i := range v.Instances {
		s.Instances = append(s.Instances, stateInstance{i.Name, i.Addr, i.Mode, i.Name == a.cfg.Instance})
	}
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	nodes, err := a.cfg.Store.Way().Nodes(ctx)
	if err != nil {
		a.log.Debug("the servers are not known", "error", err)
	}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, stateNode{n.Name, n.Role, n.LagBytes, n.Paused, n.Healthy && n.Role != "unknown", n.Paused})
	}
	return s
}

func (a *API) getState(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, a.state(r.Context()))
	return nil
}

func (a *API) putConfig(w http.ResponseWriter, r *http.Request) error {
	var change registry.Change
	if err := readJSON(w, r, &change); err != nil {
		return err
	}
	settings, err := a.cfg.Registry.Change(r.Context(), change)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"config": configOf(settings)})
	return nil
}

// postLate holds a replica back, or lets it catch up. It is there to be seen:
// no service should have such a button.
func (a *API) postLate(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Node string `json:"node"`
		Late bool   `json:"late"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if a.cfg.Operator == nil {
		return fail(http.StatusForbidden, "no_operator", "this instance was started without --operator")
	}
	nodes, err := a.cfg.Store.Way().Nodes(r.Context())
	if err != nil {
		return errors.Join(store.ErrUnavailable, err)
	}
	for _, n := range nodes {
		switch {
		case n.Name != body.Node:
		case n.Role != "replica":
			return fail(http.StatusConflict, "not_a_replica", "%s is no replica", n.Name)
		default:
			if err := a.hold(r.Context(), n, body.Late); err != nil {
				return err
			}
			writeJSON(w, http.StatusOK, map[string]any{"node": n.Name, "late": body.Late})
			return nil
		}
	}
	return fail(http.StatusNotFound, "no_such_node", "there is no server %q", clip(body.Node))
}

// hold pauses or resumes the replay of a replica.
func (a *API) hold(ctx context.Context, n store.Node, late bool) error {
	conn, err := pgx.ConnectConfig(ctx, at(a.cfg.Operator, n))
	if err != nil {
		return errors.Join(store.ErrUnavailable, fmt.Errorf("connect to %s: %w", n.Name, err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	call := "pg_wal_replay_resume()"
	if late {
		call = "pg_wal_replay_pause()"
	}
	// It may have been promoted since we were told its role.
	if _, err := conn.Exec(ctx, "SELECT "+call+" WHERE pg_is_in_recovery()"); err != nil {
		return errors.Join(store.ErrUnavailable, fmt.Errorf("hold %s: %w", n.Name, err))
	}
	a.log.Info("replica held back, or not any more", "node", n.Name, "late", late)
	return nil
}

// at returns cfg for another server.
func at(cfg *pgx.ConnConfig, n store.Node) *pgx.ConnConfig {
	cfg = cfg.Copy()
	cfg.Host, cfg.Port = n.Host, uint16(n.Port)
	if cfg.TLSConfig != nil && cfg.TLSConfig.ServerName != "" {
		cfg.TLSConfig.ServerName = n.Host
	}
	for _, f := range cfg.Fallbacks {
		f.Host, f.Port = n.Host, uint16(n.Port)
		if f.TLSConfig != nil && f.TLSConfig.ServerName != "" {
			f.TLSConfig.ServerName = n.Host
		}
	}
	return cfg
}
