package main

import (
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/pgroute/pgroute/proxy"
)

// statusPage needs nothing from anywhere else.
var statusPage = template.Must(template.New("status").Funcs(template.FuncMap{"bytes": byteText}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="5">
<title>pgroute</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.bad { font-weight: 600 } .dim { opacity: .65 }
</style>
</head>
<body>
<h1>pgroute <span class="dim">{{.Version}}</span></h1>
<p{{if not .Ready}} class="bad"{{end}}>{{.State}}</p>
<h2>Nodes</h2>
<table>
<tr><th>Name</th><th>Address</th><th>Role</th><th>State</th><th class="n">Lag</th><th class="n">Reads now</th></tr>
{{range .Nodes}}<tr><td>{{.Name}}</td><td>{{.Host}}:{{.Port}}</td><td>{{.Role}}{{if .Leads}}, takes writes{{end}}</td>
<td>{{.State}}</td><td class="n">{{.Lag}}</td><td class="n">{{.Outstanding}}</td></tr>
{{else}}<tr><td colspan="6" class="dim">no servers are known yet</td></tr>
{{end}}</table>
{{with .Manager}}<p>{{.}}</p>
{{end}}<h2>Reads</h2>
<table>
<tr><th>Node</th><th>Role</th><th>Reason</th><th class="n">Reads</th></tr>
{{range .Reads}}<tr><td>{{.Node}}</td><td>{{.Role}}</td><td>{{.Reason}}</td><td class="n">{{.Count}}</td></tr>
{{else}}<tr><td colspan="4" class="dim">none yet</td></tr>
{{end}}</table>
<h2>Counters</h2>
<table>
{{range .Counters}}<tr><td>{{.Name}}</td><td class="n">{{.Value}}</td></tr>
{{end}}</table>
<p class="dim"><a href="/metrics">/metrics</a> · <a href="/readyz">/readyz</a> · <a href="/livez">/livez</a> · epoch {{.Epoch}} · up {{.Up}}</p>
</body>
</html>
`))

type statusNode struct {
	proxy.NodeStats
	State, Lag string
}

type statusCounter struct {
	Name  string
	Value uint64
}

// status serves the status page.
func (h *adminHTTP) status(w http.ResponseWriter, _ *http.Request) {
	st := h.srv.Stats()
	ready, state := h.ready()
	page := struct {
		Version, State, Up string
		Manager            string
		Ready              bool
		Epoch              uint64
		Nodes              []statusNode
		Reads              []proxy.ReadCount
		Counters           []statusCounter
	}{Version: proxy.Version(), State: state, Ready: ready, Epoch: st.Epoch, Reads: st.Reads}
	if !st.Started.IsZero() {
		page.Up = time.Since(st.Started).Round(time.Second).String()
	}
	t := h.srv.Router().Topology()
	page.Manager = describeManager(t)
	for i := range st.Nodes {
		n := describeNode(&st.Nodes[i])
		if known := t.Node(n.Name); known != nil && known.NoReads() != "" && !n.Leads {
			n.State += ", " + known.NoReads()
		}
		page.Nodes = append(page.Nodes, n)
	}
	page.Counters = []statusCounter{
		{"clients", uint64(max(st.Clients, 0))}, {"writes", st.Writes},
		{"tickets", st.Router.Tickets}, {"position calls", st.Router.PositionCalls}, {"nudges", st.Router.Nudges},
		{"waits for a replica", st.Router.Waits}, {"waits skipped", st.Router.Hopeless},
		{"stale by policy", st.Router.Stale}, {"refused", st.Router.Refused},
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = statusPage.Execute(w, page) // the reader has left if it fails
}

func describeNode(n *proxy.NodeStats) statusNode {
	out := statusNode{NodeStats: *n}
	switch {
	case n.Role == "unknown":
		out.State = "does not answer"
	case n.Leads:
		out.State = "serves"
	case !n.Healthy:
		out.State = "left out: connections fail"
	case n.Standing.State == "trial":
		out.State = "serves on trial"
	case n.Standing.State == "warming":
		out.State = "serves more and more"
	case n.Ejected == "lag":
		out.State = "serves what no other can: it is behind"
	case n.Ejected == "stalled":
		out.State = "serves what no other can: its replay stands still"
	case n.Ejected != "":
		out.State = "serves what no other can"
	case n.Eligible:
		out.State = "serves"
	default:
		out.State = "does not serve"
	}
	if n.Role == "replica" && !n.Streams {
		out.State += ", does not stream"
	}
	if n.Paused {
		out.State += ", replay paused"
	}
	if n.ApplyDelay > 0 {
		out.State += ", replays " + n.ApplyDelay.String() + " late"
	}
	if n.Watermark != 0 {
		out.Lag = byteText(n.LagBytes)
	}
	return out
}

// byteText prints a number of bytes for people.
func byteText(n int64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/(1<<10), 0
	for v >= 1<<10 && i < len(units)-1 {
		v, i = v/(1<<10), i+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}
