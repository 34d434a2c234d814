package performance

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is what bars and lines have in common.
type chart struct {
	title, unit string
	series      []string
}

// bar is one bar, or one point of a line, with the text of its figure in the table.
type bar struct {
	value float64
	text  string
}

// group has the bars with one name, one for each series.
type group struct {
	name string
	bars []bar
}

// line has the points of one series.
type line [][2]float64

const (
	chartWidth = 800
	textWidth  = 7.2 // of a character, at most on average
)

// Dark enough for white ground, and told apart by people who are color-blind.
var colors = []string{"#0b6bb8", "#d9730d", "#4a4f57", "#2f8f5b", "#c0314f"}

// svg frames what is in a picture. The ground is white, whatever the page's is.
func (c chart) svg(height float64, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="#1f2328">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(c.title))
	fmt.Fprintf(&b, `<rect x="0.5" y="0.5" width="%d" height="%.0f" rx="6" fill="#ffffff" stroke="#d0d7de"/>`+"\n", chartWidth-1, height-1)
	text(&b, 20, 30, "start", c.title, `font-size="16" font-weight="600"`)
	text(&b, 20, 50, "start", c.unit, `fill="#59636e"`)
	if len(c.series) > 1 {
		x := 20.0
		for i, name := range c.series {
			fmt.Fprintf(&b, `<rect x="%.1f" y="63" width="12" height="12" rx="2" fill="%s"/>`+"\n", x, colors[i])
			text(&b, x+18, 74, "start", name, "")
			x += 40 + textWidth*float64(len(name))
		}
	}
	b.WriteString(body + "</svg>\n")
	return b.String()
}

// top is where the drawing starts, below the titles.
func (c chart) top() float64 {
	if len(c.series) > 1 {
		return 94
	}
	return 70
}

func text(b *strings.Builder, x, y float64, anchor, s, attributes string) {
	if attributes != "" {
		attributes = " " + attributes
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, attributes, html.EscapeString(s))
}

// barChart draws horizontal bars, each with its figure.
func (c chart) barChart(groups []group) string {
	const height, gap = 18.0, 12.0
	left, figures, most := 0.0, 0.0, 0.0
	for _, g := range groups {
		left = max(left, 36+textWidth*float64(len([]rune(g.name))))
		for _, x := range g.bars {
			most = max(most, x.value)
			figures = max(figures, 30+textWidth*float64(len([]rune(x.text))))
		}
	}
	var b strings.Builder
	y := c.top()
	for _, g := range groups {
		text(&b, left-10, y+height*float64(len(g.bars))/2+4.5, "end", strings.ReplaceAll(g.name, "`", ""), "")
		for i, x := range g.bars {
			width := max(1, x.value/most*(chartWidth-left-figures))
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, y+1, width, height-2, colors[i])
			text(&b, left+width+6, y+height/2+4.5, "start", x.text, "")
			y += height
		}
		y += gap
	}
	fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="#59636e"/>`+"\n", left, c.top()-4, y-gap+4)
	return c.svg(y+8, b.String())
}

// lineChart draws a line for each series over a logarithmic axis of x. That of y starts at
// zero, unless it is logarithmic, too.
func (c chart) lineChart(xLabel string, logY bool, lines []line) string {
	const left, right, bottom, plot = 70.0, 50.0, 56.0, 280.0
	var xs, ys []float64
	for _, l := range lines {
		for _, p := range l {
			xs, ys = append(xs, p[0]), append(ys, p[1])
		}
	}
	if len(xs) == 0 || xs[0] <= 0 {
		return c.svg(c.top(), "")
	}
	slices.Sort(xs)
	minX, maxX, yTicks := xs[0], xs[len(xs)-1], linearTicks(slices.Max(ys))
	if logY {
		yTicks = logTicks(slices.Min(ys), slices.Max(ys))
	}
	minY, maxY := yTicks[0], yTicks[len(yTicks)-1]
	top := c.top()
	x := func(v float64) float64 {
		return left + math.Log(v/minX)/math.Log(maxX/minX)*(chartWidth-left-right)
	}
	y := func(v float64) float64 {
		part := (v - minY) / (maxY - minY)
		if logY {
			part = math.Log(max(v, minY)/minY) / math.Log(maxY/minY)
		}
		return top + plot*(1-part)
	}
	var b strings.Builder
	for _, v := range yTicks {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fH%.1f" stroke="#d8dee4"/>`+"\n", left, y(v), chartWidth-right)
		text(&b, left-8, y(v)+4.5, "end", Number(v, -1), "")
	}
	for _, v := range slices.Compact(xs) {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="#d8dee4"/>`+"\n", x(v), top, top+plot)
		text(&b, x(v), top+plot+18, "middle", Number(v, -1), "")
	}
	text(&b, left+(chartWidth-left-right)/2, top+plot+40, "middle", xLabel, "")
	for i, l := range lines {
		var points []string
		for _, p := range l {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(p[0]), y(p[1])))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x(p[0]), y(p[1]), colors[i])
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colors[i])
	}
	return c.svg(top+plot+bottom, b.String())
}

// linearTicks are round numbers from zero to at least most, four steps or more.
func linearTicks(most float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{1, 2, 5} {
		if most >= 4*step/part {
			step /= part
			break
		}
	}
	ticks := []float64{0}
	for ticks[len(ticks)-1] < most {
		ticks = append(ticks, step*float64(len(ticks)))
	}
	return ticks
}

// logTicks are numbers 1, 2, 5, 10, 20 ... around least and most, and not below 0.01.
func logTicks(least, most float64) []float64 {
	least, most = max(least, 0.01), max(most, 0.02)
	var ticks []float64
	for power := math.Pow(10, math.Floor(math.Log10(least))); ; power *= 10 {
		for _, m := range []float64{1, 2, 5} {
			v := m * power
			if v <= least {
				ticks = nil
			}
			if ticks = append(ticks, v); v >= most {
				return ticks
			}
		}
	}
}

// Number formats x with commas between thousands. Decimals are as in [strconv.FormatFloat]:
// -1 means as many as needed.
func Number(x float64, decimals int) string {
	whole, fraction, found := strings.Cut(strconv.FormatFloat(x, 'f', decimals, 64), ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if !found {
		return whole
	}
	return whole + "." + fraction
}
