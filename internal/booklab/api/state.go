package api

import (
	"context"
	"net/http"
)

// State is what an instance knows about the others and about the cluster.
type State struct {
	Instance  string         `json:"instance"`
	Instances []InstanceInfo `json:"instances"`
	Nodes     []NodeInfo     `json:"nodes"`
	Config    Config         `json:"config"`
	Registry  string         `json:"registry"`
}

// InstanceInfo is an instance as the registry names it.
type InstanceInfo struct {
	Name string `json:"name"`
	Addr string `json:"addr"`
	Via  string `json:"via"`
	Self bool   `json:"self"`
}

// NodeInfo is a PostgreSQL server.
type NodeInfo struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	LagBytes int64  `json:"lag_bytes"`
	Paused   bool   `json:"paused"`
	Healthy  bool   `json:"healthy"`
	Late     bool   `json:"late"`
}

// Config is the central configuration.
type Config struct {
	Consistency string `json:"consistency,omitempty"`
	Wait        string `json:"wait,omitempty"`
	OnTimeout   string `json:"on_timeout,omitempty"`
}

// Fight is the score of many users who want one seat.
type Fight struct {
	Users   int     `json:"users"`
	Booked  int     `json:"booked"`
	Refused int     `json:"refused"`
	Errors  int     `json:"errors"`
	TookMS  float64 `json:"took_ms"`
	Looks   []struct {
		Level string `json:"level"`
		Reads int    `json:"reads"`
		Stale int    `json:"stale"`
	} `json:"looks"`
}

// State asks an instance what it knows.
func (c *Client) State(ctx context.Context, base string) (*State, error) {
	var s State
	return &s, c.do(ctx, http.MethodGet, base+"/api/state", nil, nil, &s)
}

// SetConfig writes the central configuration for all instances.
func (c *Client) SetConfig(ctx context.Context, base string, cfg Config) error {
	return c.do(ctx, http.MethodPut, base+"/api/config", nil, cfg, nil)
}

// Late pauses the replay of a replica, or resumes it.
func (c *Client) Late(ctx context.Context, base, node string, late bool) error {
	return c.do(ctx, http.MethodPost, base+"/api/late", nil, struct {
		Node string `json:"node"`
		Late bool   `json:"late"`
	}{node, late}, nil)
}

// Fight lets users fight for one seat.
func (c *Client) Fight(ctx context.Context, base string, slot, seat int64, users int) (*Fight, error) {
	var f Fight
	return &f, c.do(ctx, http.MethodPost, base+"/api/fight", nil, struct {
		Slot  int64 `json:"slot"`
		Seat  int64 `json:"seat"`
		Users int   `json:"users"`
	}{slot, seat, users}, &f)
}
