package main

import (
	"bytes"
	"context"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// growth answers how the cost of All grows with the number of jobs.
func growth(ctx context.Context, s scale) ([]table, error) {
	jobs := pick(s, []int{1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000}, []int{1_000, 3_000})
	cpu, weight := make([]rounds, len(jobs)), make([]rounds, len(jobs))
	for range pick(s, 3, 1) {
		for i, n := range jobs {
			// As many polls per second whatever the number of jobs: a processor that
			// sleeps in between takes longer over each.
			h := holding{Way: wayAll, Jobs: n, Interval: time.Duration(n) * time.Second / rate, Measure: pick(s, 2*time.Second, 200*time.Millisecond)}
			r, err := h.run(ctx)
			if err != nil {
				return nil, err
			}
			cpu[i] = append(cpu[i], r.CPU/1e3)
			// Few jobs that are polled that often are outweighed by the requests.
			if h.Interval == pace(s, n) {
				weight[i] = append(weight[i], r.Bytes)
			}
		}
	}
	t := table{
		title: "How the cost of `All` grows",
		head:  []string{"jobs", "CPU per poll, µs", "ratio", "live memory per job, B", "ratio"},
		note: "CPU time of the process, all cores, garbage collection included, at " + number(rate, 0) + " polls per second answered in memory. " +
			"Memory as in the table of question 2. The ratios are to the first row.",
	}
	var curves [2]plotter.XYs
	for i, n := range jobs {
		if len(weight[i]) == 0 {
			r, err := weigh(ctx, s, wayAll, n)
			if err != nil {
				return nil, err
			}
			weight[i] = rounds{r.Bytes}
		}
		c, b := cpu[i].median(), weight[i].median()
		t.rows = append(t.rows, []string{number(float64(n), 0), number(c, 1), times(cpu[i].of(cpu[0])), number(b, 0), times(b / weight[0].median())})
		curves[0], curves[1] = append(curves[0], plotter.XY{X: float64(n), Y: c}), append(curves[1], plotter.XY{X: float64(n), Y: b})
	}
	if s.results == "" {
		return []table{t}, nil
	}
	return []table{t}, drawGrowth(filepath.Join(s.results, "growth.svg"), curves)
}

// drawGrowth writes the plot: CPU above, memory below.
func drawGrowth(file string, curves [2]plotter.XYs) error {
	const width, height = 7 * vg.Inch, 6 * vg.Inch
	axes := [2]string{"CPU per poll, µs", "live memory per job, B"}
	colors := [2]color.Color{color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}, color.RGBA{R: 0xb4, G: 0x4a, B: 0x1e, A: 0xff}}
	panels := make([][]*plot.Plot, 2)
	for i, curve := range curves {
		p, err := panel(axes[i], curve, colors[i])
		if err != nil {
			return err
		}
		panels[i] = []*plot.Plot{p}
	}
	panels[0][0].Title.Text = "What waiting with All costs, by the number of jobs"
	panels[1][0].X.Label.Text = "jobs"
	// On white: a page may be dark.
	svg := vgsvg.NewWith(vgsvg.UseWH(width, height))
	canvas := draw.New(svg)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadTop: vg.Points(10), PadBottom: vg.Points(8), PadLeft: vg.Points(8), PadRight: vg.Points(24), PadY: vg.Points(12)}
	for i, c := range plot.Align(panels, tiles, canvas) {
		panels[i][0].Draw(c[0])
	}
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return err
	}
	// The font is as wide as these, for readers who do not have it.
	text := bytes.ReplaceAll(b.Bytes(), []byte("Liberation Sans;"), []byte("Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(file, text, 0o644) //nolint:gosec // to be read by all
}

// panel is one curve over a logarithmic number of jobs.
func panel(axis string, curve plotter.XYs, c color.Color) (*plot.Plot, error) {
	p := plot.New()
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
		f.Size = vg.Points(12)
	}
	p.Title.TextStyle.Font.Size = vg.Points(14)
	p.Title.Padding = vg.Points(8)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	p.Y.Tick.Marker = plot.TickerFunc(steps)
	p.Y.Label.Text = axis
	line, points, err := plotter.NewLinePoints(curve)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width = c, vg.Points(2)
	points.Color, points.Shape, points.Radius = c, draw.CircleGlyph{}, vg.Points(3.5)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 0xd8}, color.Gray{Y: 0xd8}
	p.Add(grid, line, points)
	// From zero, so that flat looks flat and nothing else does.
	p.Y.Min = 0
	p.Y.Max *= 1.15
	return p, nil
}

// decades marks the powers of ten, and between them every whole multiple without
// a label.
func decades(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(least))); power <= most; power *= 10 {
		for m := 1.0; m < 10; m++ {
			if v := m * power; v >= least && v <= most {
				tick := plot.Tick{Value: v}
				if m == 1 {
					tick.Label = number(v, 0)
				}
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}

// steps marks four to nine round numbers from zero.
func steps(_, most float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{1, 2, 5, 10} {
		if most >= 4*step/part {
			step /= part
			break
		}
	}
	var ticks []plot.Tick
	for i := 0.0; i*step <= most; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: number(i*step, 0)})
	}
	return ticks
}
