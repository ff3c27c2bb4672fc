package main

import (
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/pgroute/pgroute/proxy"
)

// proxyStatus is what a running proxy knows: /status.json of --admin, and what
// pgroute status prints.
type proxyStatus struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Listen  []string  `json:"listen"`
	Started time.Time `json:"started,omitzero"`
	// Ready and State are what /readyz says.
	Ready bool   `json:"ready"`
	State string `json:"state"`
	// Primary is the node that may take writes, "" if there is none; then
	// NoPrimary says why. Leadership is false while writes wait for the proof
	// that nobody else takes any.
	Primary    string `json:"primary"`
	NoPrimary  string `json:"no_primary,omitempty"`
	Leadership bool   `json:"leadership"`
	Epoch      uint64 `json:"epoch"`
	Timeline   uint32 `json:"timeline,omitempty"`
	// Manager is what the cluster's manager says, for people.
	Manager string       `json:"manager,omitempty"`
	Nodes   []nodeStatus `json:"nodes"`
	// Clients are logged in; Waiting of them wait for a server connection.
	Clients int64 `json:"clients"`
	Waiting int   `json:"waiting"`
	// ConfigRefused counts configurations that were refused.
	ConfigRefused uint64 `json:"config_refused"`
	// SourceErrors counts what was told about the servers and not believed, by
	// what was wrong with it.
	SourceErrors map[string]uint64 `json:"source_errors"`
	// SourceAge is how many seconds ago the source was last known to speak for
	// the present, nil for a list of servers, which always does.
	SourceAge *float64 `json:"source_age,omitempty"`
}

// nodeStatus is what a proxy knows of one server.
type nodeStatus struct {
	Name string `json:"name"`
	Host string `json:"host"`
	Port int    `json:"port"`
	Role string `json:"role"`
	// Leads is true for the primary that takes writes, Up for it and for what
	// counts as a replica.
	Leads bool   `json:"leads"`
	Up    bool   `json:"up"`
	State string `json:"state"`
	// Timeline is 0 if it is not known to be the current one, LagBytes nil if it
	// is not known.
	Timeline uint32 `json:"timeline,omitempty"`
	LagBytes *int64 `json:"lag_bytes"`
	// Reads have run there, Outstanding run now.
	Reads       uint64 `json:"reads"`
	Outstanding int64  `json:"outstanding"`
}

// statusJSON serves /status.json.
func (h *adminHTTP) statusJSON(w http.ResponseWriter, _ *http.Request) {
	st := h.srv.Stats()
	t := h.srv.Router().Topology()
	out := proxyStatus{Version: proxy.Version(), PID: os.Getpid(), Started: st.Started, Primary: st.Primary, NoPrimary: st.NoPrimary,
		Leadership: st.Leadership, Epoch: st.Epoch, Timeline: t.Timeline(), Manager: describeManager(t), Nodes: []nodeStatus{},
		Clients: st.Clients, ConfigRefused: h.refused.configs.Load(),
		SourceErrors: h.refused.sourceErrors(&st.Router)}
	out.Ready, out.State = h.ready()
	if c := st.Router.SourceConfirmed; !c.IsZero() {
		age := time.Since(c).Seconds()
		out.SourceAge = &age
	}
	for _, a := range h.srv.Addrs() {
		out.Listen = append(out.Listen, addrText(a))
	}
	for _, p := range h.srv.Pools().Nodes {
		out.Waiting += p.Waiting
	}
	reads := make(map[string]uint64)
	for _, r := range st.Reads {
		reads[r.Node] += r.Count
	}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		row := nodeStatus{Name: n.Name, Host: n.Host, Port: n.Port, Role: n.Role, Leads: n.Leads, Up: n.Leads || n.Eligible,
			State: describeNode(n).State, Reads: reads[n.Name], Outstanding: n.Outstanding}
		if row.Up {
			row.Timeline = out.Timeline
		}
		if n.Watermark != 0 {
			row.LagBytes = &n.LagBytes
		}
		out.Nodes = append(out.Nodes, row)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out) // the reader has left if it fails
}
