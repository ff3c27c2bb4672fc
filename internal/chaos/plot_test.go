package chaos_test

import (
	"fmt"
	"html"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// picture draws a run as SVG: one time axis, and panels below one another.
type picture struct {
	r      *result
	b      strings.Builder
	length time.Duration
	y      float64 // where the next panel begins
}

const (
	paperWidth  = 1320.0
	plotLeft    = 96.0
	plotRight   = 1290.0
	rowHeight   = 17.0
	panelGap    = 34.0
	titleHeight = 66.0
	smallPanel  = 52.0
	largePanel  = 110.0
)

// style has every colour twice, for light and for dark paper.
const style = `
svg { --paper:#ffffff; --ink:#1c2430; --faint:#667080; --grid:#e3e7ec; --c1:#2463c9; --c2:#d0661b; --c3:#1d8a5a; --c4:#8a4bbf; --c5:#c22f4a; --c6:#8b7a1c; --c7:#3a8fa3; --c8:#7a7f87; --bad:#d4001f;
  --kill:#c9405a; --hang:#d9902f; --net:#3f74d1; --replay:#2b9a8e; --host:#8f5fc4; --move:#4f9a3a;
  --primary:#2463c9; --replica:#a9c6ee; --off:#c3c8cf; background:var(--paper); font-family:system-ui,-apple-system,"Segoe UI","Liberation Sans",sans-serif; }
@media (prefers-color-scheme: dark) { svg { --paper:#12161c; --ink:#e4e8ee; --faint:#98a2b0; --grid:#262d37; --c1:#6aa2ff; --c2:#f29a5c; --c3:#54c794; --c4:#c292f0; --c5:#f2748c; --c6:#d6c258; --c7:#72c9de; --c8:#a5abb5; --bad:#ff4d63;
  --kill:#e06b82; --hang:#e8ab57; --net:#6f9dec; --replay:#55c2b5; --host:#b48ae0; --move:#7cc565;
  --primary:#5b93f0; --replica:#2d4c7d; --off:#3c444f; } }
text { fill:var(--ink); font-size:11px; } .t { font-size:17px; font-weight:600; } .h { font-size:12px; font-weight:600; } .f { fill:var(--faint); }
.g { stroke:var(--grid); stroke-width:1; } .l { fill:none; stroke-width:1.3; } .bad { stroke:var(--bad); stroke-width:1.2; stroke-dasharray:3 3; } .badt { fill:var(--bad); font-weight:600; } .in { fill:#ffffff; font-size:9.5px; pointer-events:none; }
`

// seriesColors are those of errors, in the order of their number.
var seriesColors = []string{"--c5", "--c2", "--c4", "--c6", "--c7", "--c1", "--c3", "--c8"}

// writeSVG draws r.
func writeSVG(w io.Writer, r *result) error {
	p := &picture{r: r, length: max(r.Elapsed, time.Second)}
	p.y = titleHeight
	for _, panel := range []func(){p.faults, p.roles, p.routes, p.writes, p.lag, p.latency, p.errors} {
		panel()
	}
	panels := p.b.String()
	p.b.Reset()
	p.axis() // behind all panels
	axis := p.b.String()
	p.b.Reset()
	p.findings()
	height := p.y + 40
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s"><style>%s</style><rect width="100%%" height="100%%" fill="var(--paper)"/>`,
		paperWidth, height, paperWidth, height, html.EscapeString(r.title()), style)
	if _, err := io.WriteString(w, head+p.title()+axis+panels+p.b.String()+"</svg>\n"); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}

func (p *picture) title() string {
	return text(plotLeft, 28, "t", p.r.title()) + text(plotLeft, 48, "f", p.r.subtitle())
}

func (p *picture) x(at time.Duration) float64 {
	return plotLeft + (plotRight-plotLeft)*min(float64(max(at, 0))/float64(p.length), 1)
}

func text(x, y float64, class, s string) string {
	return fmt.Sprintf(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, html.EscapeString(s))
}

func (p *picture) label(y float64, s string) {
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, plotLeft-8, y, html.EscapeString(s))
}

// head begins a panel with its name and its legend.
func (p *picture) head(name string, legend ...string) {
	p.y += panelGap
	p.b.WriteString(text(plotLeft, p.y-8, "h", name))
	x := plotLeft + 16 + 7.2*float64(len(name))
	for i := 0; i+1 < len(legend); i += 2 {
		fmt.Fprintf(&p.b, `<rect x="%.1f" y="%.1f" width="9" height="9" rx="2" fill="var(%s)"/>`, x, p.y-17, legend[i+1])
		p.b.WriteString(text(x+13, p.y-8, "f", legend[i]))
		x += 30 + 6.2*float64(len([]rune(legend[i])))
	}
}

func (p *picture) rect(x, y, w, h float64, color, hint string) {
	fmt.Fprintf(&p.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="var(%s)">`, x, y, max(w, 0.6), h, color)
	if hint != "" {
		p.b.WriteString("<title>" + html.EscapeString(hint) + "</title>")
	}
	p.b.WriteString("</rect>")
}

func (p *picture) rule(y float64) {
	fmt.Fprintf(&p.b, `<line class="g" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, plotLeft, plotRight, y, y)
}

// colorOf says to what sort a fault belongs.
func colorOf(kind string) string {
	switch {
	case kind == "rest":
		return "--off"
	case strings.HasPrefix(kind, "switchover"):
		return "--move"
	case strings.Contains(kind, "replay"), strings.Contains(kind, "receiver"):
		return "--replay"
	case strings.Contains(kind, "hangs"):
		return "--hang"
	case strings.Contains(kind, "disk"):
		return "--host"
	case strings.Contains(kind, "kill"), strings.Contains(kind, "dead"), strings.Contains(kind, "restarts"):
		return "--kill"
	}
	return "--net"
}

// faults draws one row for each host, and as many for the network as it needs.
func (p *picture) faults() {
	p.head("faults", "killed", "--kill", "hangs", "--hang", "network", "--net", "replay", "--replay", "disk", "--host", "switchover", "--move", "waits for a steady cluster", "--off")
	rows := map[string][]*event{}
	var names []string
	for _, e := range p.r.Events {
		name, _, _ := strings.Cut(e.Target, " ")
		if colorOf(e.Kind) == "--net" {
			name = "network"
		}
		if rows[name] == nil {
			names = append(names, name)
		}
		rows[name] = append(rows[name], e)
	}
	slices.Sort(names)
	for _, name := range names {
		p.label(p.y+12, name)
		for _, line := range pack(rows[name]) {
			p.rule(p.y + rowHeight)
			for _, e := range line {
				p.fault(e)
			}
			p.y += rowHeight
		}
	}
}

func (p *picture) fault(e *event) {
	end := e.End
	if end < 0 {
		end = p.length
	}
	x, w := p.x(e.Begin), max(p.x(end)-p.x(e.Begin), 2)
	hint := fmt.Sprintf("%s: %s, %.1f s to %.1f s", e.Kind, e.Target, e.Begin.Seconds(), end.Seconds())
	if e.Err != "" {
		hint += ": " + e.Err
	}
	p.rect(x, p.y+2, w, rowHeight-4, colorOf(e.Kind), hint)
	if words := e.Kind; w > 5*float64(len(words))+6 {
		p.b.WriteString(text(x+3, p.y+12, "in", words))
	}
}

// pack puts events that overlap into different lines.
func pack(events []*event) (lines [][]*event) {
	for _, e := range events {
		at := slices.IndexFunc(lines, func(line []*event) bool { return line[len(line)-1].End <= e.Begin && line[len(line)-1].End >= 0 })
		if at < 0 {
			lines = append(lines, nil)
			at = len(lines) - 1
		}
		lines[at] = append(lines[at], e)
	}
	return lines
}

// roles draws what the servers said of themselves, with their timelines.
func (p *picture) roles() {
	p.head("role and timeline, as the servers themselves say", "primary", "--primary", "replica", "--replica", "no answer", "--off")
	colors := map[string]string{"primary": "--primary", "replica": "--replica", "": "--off"}
	for _, name := range p.r.nodes() {
		p.label(p.y+12, name)
		list := p.r.samplesOf(name)
		var shown uint32
		for i := 0; i < len(list); {
			k := i + 1
			for k < len(list) && list[k].Role == list[i].Role && list[k].Timeline == list[i].Timeline {
				k++
			}
			end := p.length
			if k < len(list) {
				end = list[k].At
			}
			s := list[i]
			role := s.Role
			if role == "" {
				role = "no answer"
			}
			p.rect(p.x(s.At), p.y+1, p.x(end)-p.x(s.At), rowHeight-2, colors[s.Role], fmt.Sprintf("%s: %s, timeline %d, from %.1f s to %.1f s", name, role, s.Timeline, s.At.Seconds(), end.Seconds()))
			if s.Timeline != 0 && s.Timeline != shown {
				class := ""
				if s.Role == "primary" {
					class = "in"
				}
				p.b.WriteString(text(p.x(s.At)+2, p.y+12, class, fmt.Sprint(s.Timeline)))
				shown = s.Timeline
			}
			i = k
		}
		p.y += rowHeight
	}
}

// bars draws stacked bars of the buckets.
func (p *picture) bars(height float64, unit string, series []string, colors []string, value func(b *bucket, name string) int) {
	top := 1
	for _, b := range p.r.Buckets {
		sum := 0
		for _, name := range series {
			sum += value(b, name)
		}
		top = max(top, sum)
	}
	seconds := p.r.BucketWidth.Seconds()
	p.label(p.y+9, fmt.Sprintf("%.4g %s", float64(top)/seconds, unit))
	p.label(p.y+height, "0")
	p.rule(p.y)
	p.rule(p.y + height)
	for i, b := range p.r.Buckets {
		from := p.x(time.Duration(i) * p.r.BucketWidth)
		to := p.x(time.Duration(i+1) * p.r.BucketWidth)
		at := p.y + height
		for k, name := range series {
			n := value(b, name)
			if n == 0 {
				continue
			}
			h := height * float64(n) / float64(top)
			at -= h
			p.rect(from, at, to-from-0.3, h, colors[k%len(colors)], fmt.Sprintf("%s: %.4g %s at %.1f s", name, float64(n)/seconds, unit, (time.Duration(i)*p.r.BucketWidth).Seconds()))
		}
	}
	p.y += height
}

func (p *picture) routes() {
	p.head("reads per second, by the server that pgroute chose", "on a replica", "--c3", "on the primary", "--c1")
	for _, name := range p.r.nodes() {
		fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="end" class="h">%s</text>`, plotLeft-8, p.y+smallPanel/2+4, name)
		p.bars(smallPanel, "/s", []string{name + " replica", name + " primary"}, []string{"--c3", "--c1"},
			func(b *bucket, route string) int { return b.Routes[route] })
		p.y += 8
	}
}

func (p *picture) writes() {
	colors := []string{"--c2", "--c4", "--c7"}
	var legend []string
	for i, name := range p.r.Report.Targets {
		legend = append(legend, name, colors[i%len(colors)])
	}
	p.head("acknowledged writes per second, by proxy", legend...)
	p.bars(smallPanel, "/s", p.r.Report.Targets, colors, func(b *bucket, proxy string) int { return b.Writes[proxy] })
}

func (p *picture) errors() {
	codes := p.r.journal.codes()
	if len(codes) == 0 {
		p.head("errors: none")
		return
	}
	var legend []string
	for i, code := range codes {
		legend = append(legend, code, seriesColors[i%len(seriesColors)])
	}
	p.head("errors by SQLSTATE; lost: the connection broke", legend...)
	p.bars(smallPanel+20, "/s", codes, seriesColors, func(b *bucket, code string) int { return b.Errors[code] })
}

// scale is a logarithmic axis.
type scale struct {
	low, high, top, height float64
}

func (s scale) y(v float64) float64 {
	v = min(max(v, s.low), s.high)
	return s.top + s.height*(1-math.Log(v/s.low)/math.Log(s.high/s.low))
}

func (p *picture) ticks(s scale, factor float64, name func(float64) string) {
	for v := s.low; v <= s.high*1.01; v *= factor {
		p.rule(s.y(v))
		p.label(s.y(v)+4, name(v))
	}
}

// line draws points; a NaN ends a stroke.
func (p *picture) line(color string, points [][2]float64) {
	var b strings.Builder
	pen := "M"
	for _, at := range points {
		if math.IsNaN(at[1]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, at[0], at[1])
		pen = "L"
	}
	fmt.Fprintf(&p.b, `<path class="l" d="%s" stroke="var(%s)"/>`, b.String(), color)
}

func (p *picture) lag() {
	colors := []string{"--c1", "--c2", "--c3"}
	var legend []string
	for i, name := range p.r.nodes() {
		legend = append(legend, name, colors[i%len(colors)])
	}
	p.head("how far behind the primary each server has replayed, in bytes", legend...)
	s := scale{1 << 10, 64 << 20, p.y, largePanel}
	p.ticks(s, 16, func(v float64) string {
		if v >= 1<<20 {
			return fmt.Sprintf("%.0f MiB", v/(1<<20))
		}
		return fmt.Sprintf("%.0f KiB", v/(1<<10))
	})
	for i, name := range p.r.nodes() {
		var points [][2]float64
		for _, one := range p.r.samplesOf(name) {
			y := math.NaN()
			if one.Role == "replica" && one.Lag >= 0 {
				y = s.y(float64(one.Lag))
			}
			points = append(points, [2]float64{p.x(one.At), y})
		}
		p.line(colors[i%len(colors)], points)
	}
	p.y += largePanel
}

func (p *picture) latency() {
	p.head("latency as clients see it", "reads p50", "--c3", "reads p99", "--c7", "writes p50", "--c2", "writes p99", "--c5", "longest", "--c8")
	s := scale{0.1, 100_000, p.y, largePanel}
	p.ticks(s, 10, func(v float64) string {
		if v >= 1000 {
			return fmt.Sprintf("%.0f s", v/1000)
		}
		return fmt.Sprintf("%.3g ms", v)
	})
	for _, line := range []struct {
		color string
		value func(*bucket) float64
	}{
		{"--c8", func(b *bucket) float64 { return b.Max }},
		{"--c7", func(b *bucket) float64 { return b.ReadP99 }},
		{"--c5", func(b *bucket) float64 { return b.WriteP99 }},
		{"--c3", func(b *bucket) float64 { return b.ReadP50 }},
		{"--c2", func(b *bucket) float64 { return b.WriteP50 }},
	} {
		var points [][2]float64
		for i, b := range p.r.Buckets {
			y := math.NaN()
			if v := line.value(b); v > 0 {
				y = s.y(v)
			}
			points = append(points, [2]float64{p.x(time.Duration(i)*p.r.BucketWidth + p.r.BucketWidth/2), y})
		}
		p.line(line.color, points)
	}
	p.y += largePanel
}

// axis draws the times below all panels.
func (p *picture) axis() {
	step := time.Second
	for _, s := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute} {
		step = s
		if p.length/s <= 20 {
			break
		}
	}
	for at := time.Duration(0); at <= p.length; at += step {
		fmt.Fprintf(&p.b, `<line class="g" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" opacity="0.6"/>`, p.x(at), p.x(at), titleHeight+panelGap-4, p.y+6)
		fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="middle" class="f">%s</text>`, p.x(at), p.y+20, at)
	}
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="end" class="f">time since the clients began</text>`, plotRight, p.y+34)
}

// findings marks what was found, and when everything was healed.
func (p *picture) findings() {
	if p.r.Healed > 0 {
		fmt.Fprintf(&p.b, `<line stroke="var(--c3)" stroke-width="1.2" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, p.x(p.r.Healed), p.x(p.r.Healed), titleHeight+14, p.y)
		fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="end" class="f">all healed</text>`, p.x(p.r.Healed)-3, titleHeight+8)
	}
	marks := map[time.Duration]string{}
	for i, f := range p.r.Report.Findings {
		if len(f.Ops) == 0 {
			continue
		}
		at := f.Ops[len(f.Ops)-1].End + p.r.Origin
		marks[at] += fmt.Sprintf("%d ", i+1)
		fmt.Fprintf(&p.b, `<line class="bad" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"><title>%s</title></line>`, p.x(at), p.x(at), titleHeight+14, p.y, html.EscapeString(f.Kind+": "+f.What))
	}
	for _, at := range slices.Sorted(maps.Keys(marks)) {
		p.b.WriteString(text(p.x(at)-3, titleHeight+12, "badt", strings.TrimSpace(marks[at])))
	}
}
