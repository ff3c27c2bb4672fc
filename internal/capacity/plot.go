package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// The plot's area, in pixels: room on the right is for the lines' names.
const (
	plotWidth, plotHeight = 860.0, 500.0
	left, right           = 74.0, 640.0
	top, bottom           = 84.0, 436.0
)

// The ranges of the axes: requests in a second, and cores.
const (
	fewest, most      = 1000.0, 1_000_000.0
	leastCores        = 0.1
	mostCores         = 400.0
	labelDistance     = 17.0
	pointsOfEachCurve = 120
)

// curve is one line of the plot: the cores that a primary needs.
type curve struct {
	class, name string
	share       float64
	alone       bool
}

var curves = []curve{
	{"c0", "no replicas, 95 % reads", 0.95, true},
	{"c1", "replicas, 80 % reads", 0.80, false},
	{"c2", "replicas, 95 % reads", 0.95, false},
	{"c3", "replicas, 99 % reads", 0.99, false},
}

// plot draws the primary's cores over the load. Colours follow the reader's
// colour scheme; every line also has its own dashes and its name beside it.
func plot(in Inputs, a Assumptions) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" role="img" aria-labelledby="t d">
<title id="t">Cores that the primary needs</title>
<desc id="d">%s</desc>
<style>
.paper{fill:#fff}.text{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}.limit{stroke:#59636e}
.c0{stroke:#b42318}.c1{stroke:#9a5b00}.c2{stroke:#0b5cad}.c3{stroke:#0f7b4f}
.n0{fill:#b42318}.n1{fill:#9a5b00}.n2{fill:#0b5cad}.n3{fill:#0f7b4f}
.halo{stroke:#fff;stroke-width:5;paint-order:stroke;stroke-linejoin:round}
.c1{stroke-dasharray:9 4}.c3{stroke-dasharray:2 4}
@media (prefers-color-scheme:dark){
.paper{fill:#0d1117}.text{fill:#f0f6fc}.soft{fill:#9aa5b1}.grid{stroke:#2a313a}.limit{stroke:#9aa5b1}
.c0{stroke:#ff8b7e}.c1{stroke:#f0b429}.c2{stroke:#6cb6ff}.c3{stroke:#56d3a0}
.halo{stroke:#0d1117}
.n0{fill:#ff8b7e}.n1{fill:#f0b429}.n2{fill:#6cb6ff}.n3{fill:#56d3a0}
}
</style>
<rect class="paper" width="100%%" height="100%%" rx="8"/>
<text class="text" x="24" y="34" font-size="19" font-weight="600">Cores that the primary needs</text>
<text class="soft" x="24" y="58" font-size="13">The booking example, both axes logarithmic. A line ends with a ring where one primary no longer carries the load.</text>
`, plotWidth, plotHeight, describe(in, a))
	axes(&b, a)
	// Each name stands above the end of its line, the leftmost one highest, so
	// that no leader crosses a name.
	for i, c := range curves {
		x, y := draw(&b, in, a, c)
		row := top + 14 + float64(i)*labelDistance
		fmt.Fprintf(&b, "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke-width=\"0.8\"/>\n", x, x, y-6, row-11)
		if x < right-1 {
			fmt.Fprintf(&b, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"none\" stroke-width=\"2.2\" style=\"stroke-dasharray:none\"/>\n", i, x, y)
		}
		fmt.Fprintf(&b, "<text class=\"halo n%d\" x=\"%.1f\" y=\"%.1f\" font-size=\"13\">%s</text>\n", i, x+6, row, c.name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// axes draws the grid, its numbers and the largest machine.
func axes(b *bytes.Buffer, a Assumptions) {
	for _, cores := range []float64{0.1, 1, 10, 100} {
		y := yOf(cores)
		fmt.Fprintf(b, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, right, y, y)
		fmt.Fprintf(b, "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"13\" text-anchor=\"end\">%s</text>\n", left-9, y+4, amount(cores))
	}
	for _, rate := range []float64{1000, 10_000, 100_000, 1_000_000} {
		x := xOf(rate)
		fmt.Fprintf(b, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x, x, top, bottom)
		fmt.Fprintf(b, "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"13\" text-anchor=\"middle\">%s</text>\n", x, bottom+20, thousands(rate))
	}
	y := yOf(a.LargestPrimary)
	fmt.Fprintf(b, "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke-dasharray=\"5 5\" stroke-width=\"1.4\"/>\n", left, right, y, y)
	fmt.Fprintf(b, "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"13\">the largest machine: %s cores</text>\n", left+8, y-7, amount(a.LargestPrimary))
	fmt.Fprintf(b, "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"13\" text-anchor=\"middle\">requests per second</text>\n", (left+right)/2, bottom+44)
	fmt.Fprintf(b, "<text class=\"soft\" x=\"22\" y=\"%.1f\" font-size=\"13\" text-anchor=\"middle\" transform=\"rotate(-90 22 %.1f)\">cores</text>\n", (top+bottom)/2, (top+bottom)/2)
}

// draw draws one line and returns where it ends.
func draw(b *bytes.Buffer, in Inputs, a Assumptions, c curve) (x, y float64) {
	var path strings.Builder
	for i := range pointsOfEachCurve {
		rate := fewest * math.Pow(most/fewest, float64(i)/(pointsOfEachCurve-1))
		n := Answer(in, a, Load{Requests: rate, ReadShare: c.share})
		cores := n.Primary
		if c.alone {
			cores = n.Alone
		}
		if !c.alone && n.Wall != WallNone || cores > min(a.LargestPrimary, mostCores) {
			break
		}
		if cores < leastCores {
			continue
		}
		verb := "L"
		if path.Len() == 0 {
			verb = "M"
		}
		x, y = xOf(rate), yOf(cores)
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, x, y)
	}
	fmt.Fprintf(b, "<path class=\"%s\" d=\"%s\" fill=\"none\" stroke-width=\"2.4\" stroke-linejoin=\"round\"/>\n", c.class, path.String())
	return x, y
}

// describe says in words what the plot shows, for those who cannot see it.
func describe(in Inputs, a Assumptions) string {
	var parts []string
	for _, c := range curves {
		n := Answer(in, a, Load{Requests: 10_000, ReadShare: c.share})
		cores := n.Primary
		if c.alone {
			cores = n.Alone
		}
		parts = append(parts, fmt.Sprintf("%s: %s cores", c.name, amount(cores)))
	}
	return "At 10,000 requests per second: " + strings.Join(parts, "; ") + "."
}

func xOf(rate float64) float64 {
	return left + (right-left)*math.Log(rate/fewest)/math.Log(most/fewest)
}

func yOf(cores float64) float64 {
	return bottom - (bottom-top)*math.Log(cores/leastCores)/math.Log(mostCores/leastCores)
}
