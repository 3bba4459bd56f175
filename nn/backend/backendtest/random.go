package backendtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Random numbers have to be the bits that package rng specifies: the bounds are zero.

func randomCases() []Case {
	var cases []Case
	src := []rng.Source{{Seed: 1, Stream: rng.StreamNoise}, {Seed: 0xfedcba9876543210, Stream: rng.StreamLayer + 3}, {Seed: 1, Stream: rng.StreamEvaluate}}
	for i, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 7, H: 4, W: 4, C: 8}, {N: 2, H: 9, W: 5, C: 31}, {N: 1, H: 33, W: 31, C: 2}} {
		src, stepParams, first := src[i%3], backend.StepParams{Step: uint32(3 * i), Draw: 77, Offset: 5}, i%2*1000
		cases = append(cases, normalCase(src, s, stepParams, first),
			dropoutCase([]float32{0.5, 0.1, 0.9}[i%3], src, s, stepParams, first, false),
			dropoutCase(0.25, src, s, stepParams, first, true))
	}
	cases = append(cases, dropoutAtDraw(src[1], shape{N: 2, H: 1, W: 1, C: 9}, backend.StepParams{Step: 3}))
	noise := src[0]
	for i, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 1}, {N: 2, H: 3, W: 3, C: 3}, {N: 4, H: 28, W: 28, C: 1}, {N: 2, H: 5, W: 3, C: 33}} {
		stepParams := backend.StepParams{Step: 9, Draw: uint32(2 * i), Offset: uint32(i)}
		cases = append(cases, gatherCase(0.5, noise, s, stepParams, i%3, true), gatherCase(0, noise, s, stepParams, 0, true),
			gatherCase(0.5, src[2], s, stepParams, i%2, false),
			selectCase(0.5, noise, s, stepParams, i%3, true), selectCase(0.5, src[2], s, stepParams, i%2, false))
	}
	s := shape{N: 3, H: 5, W: 4, C: 3}
	views := []Case{normalCase(noise, s, backend.StepParams{Step: 1}, 2), dropoutCase(0.5, noise, s, backend.StepParams{Step: 1}, 2, false),
		gatherCase(0.3, noise, s, backend.StepParams{Draw: 1, Offset: 3}, 1, true), selectCase(0.3, noise, s, backend.StepParams{Draw: 1, Offset: 3}, 1, true)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation {
				views[i].args[j].images = 4
			}
		}
	}
	cases = append(cases, views...)
	cases = append(cases, bordered(normalCase(noise, s, backend.StepParams{Step: 4}, 0), "out"),
		bordered(dropoutCase(0.5, noise, s, backend.StepParams{Step: 4}, 0, false), "out"),
		bordered(gatherCase(0.5, noise, s, backend.StepParams{Draw: 4}, 0, true), "clean"),
		bordered(gatherCase(0.5, noise, s, backend.StepParams{Draw: 4}, 0, true), "noisy"),
		bordered(selectCase(0.5, noise, s, backend.StepParams{Draw: 4}, 0, true), "clean"),
		bordered(selectCase(0.5, noise, s, backend.StepParams{Draw: 4}, 0, true), "noisy"),
		stagedGather(gatherCase(0.3, noise, s, backend.StepParams{Draw: 2, Offset: 4}, 2, true), s, 2, 4))
	stepParams := backend.StepParams{Step: 6, Draw: 3, Offset: 2, LearningRate: 1}
	cases = append(cases, settingDraw(gatherCase(0.5, noise, s, stepParams, 1, true), noise, s, stepParams),
		settingDraw(selectCase(0.5, noise, s, stepParams, 1, true), noise, s, stepParams))
	stepParams = backend.StepParams{Draw: 1, Offset: 1}
	cases = append(cases, drawOutside(gatherCase(0.5, noise, s, stepParams, 1, true)), drawOutside(selectCase(0.5, noise, s, stepParams, 1, true)))
	bench := gatherCase(0.5, noise, shape{N: 32, H: 28, W: 28, C: 1}, backend.StepParams{Draw: 1}, 0, true)
	bench.Bench = true
	return append(cases, bench)
}

func normalCase(src rng.Source, s shape, c backend.StepParams, first int) Case {
	return Case{
		Name: fmt.Sprintf("random/normal/%dx%dx%dx%d-step%d-first%d", s.N, s.H, s.W, s.C, c.Step, first), Ops: []string{"Normal", "SetStepParams"},
		args: []arg{activation("out", s, nil).out(exact), stepParamsArg(c)},
		run:  func(b backend.Backend, t tensors) { b.Normal(src, t["out"], t["stepParams"], first) },
		reference: func(data) values {
			return values{"out": {v: floats(normals(src, s, c.Step, func(n int) int { return first + n }))}}
		},
	}
}

func dropoutCase(rate float32, src rng.Source, s shape, c backend.StepParams, first int, inPlace bool) Case {
	k := Case{
		Name: fmt.Sprintf("random/dropout/%dx%dx%dx%d-rate%g-step%d-first%d", s.N, s.H, s.W, s.C, rate, c.Step, first), Ops: []string{"Dropout", "SetStepParams"},
		args: []arg{activation("x", s, normal(1)), stepParamsArg(c), activation("out", s, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.Dropout(rate, src, t["out"], t["x"], t["stepParams"], first)
		},
	}
	output := "out"
	if inPlace {
		output = "x"
		k.Name += "/in-place"
		k.args = []arg{activation("x", s, normal(1)).inout(exact), stepParamsArg(c)}
		k.run = func(b backend.Backend, t tensors) { b.Dropout(rate, src, t["x"], t["x"], t["stepParams"], first) }
	}
	k.reference = func(d data) values {
		v := make([]float64, s.Len())
		for i, x := range d["x"] {
			position := i % s.Image()
			if u := src.Uniforms(uint32(position/4), uint32(first+i/s.Image()), c.Step); u[position%4] >= rate {
				v[i] = float64(float32(x) / (1 - rate))
			}
		}
		return values{output: {v: v}}
	}
	return k
}

// dropoutAtDraw has a rate that is one of the draws: what is drawn at the rate stays.
func dropoutAtDraw(src rng.Source, s shape, c backend.StepParams) Case {
	k := dropoutCase(src.Uniforms(0, 0, c.Step)[2], src, s, c, 0, false)
	k.Name += "/at-a-draw"
	return k
}

// samplesOf is a data set of 11 samples to draw from, with what is particular to its op.
type samplesOf struct {
	op, upload string // methods
	set        arg
	call       func(b backend.Backend, t tensors)
	clean      func(d data, at int) float64           // element at of the data set, as a sample
	noisy      func(clean float64, n float32) float64 // with noise n added
}

const drawnFrom = 11

func gatherCase(std float32, src rng.Source, s shape, c backend.StepParams, first int, withNoise bool) Case {
	return drawCase(std, src, s, c, first, withNoise, samplesOf{
		op: "GatherPixels", upload: "UploadBytes",
		set: pixelsArg("pixels", shape{N: drawnFrom, H: s.H, W: s.W, C: s.C}, mixed(grid(0, 255, 1), 0, 255)),
		call: func(b backend.Backend, t tensors) {
			b.GatherPixels(std, src, t["clean"], t["noisy"], t["pixels"], t["order"], t["stepParams"], first)
		},
		clean: func(d data, at int) float64 { return float64(float32(d["pixels"][at]) / 255) },
		noisy: func(clean float64, n float32) float64 { return float64(min(max(float32(clean)+n, 0), 1)) },
	})
}

func selectCase(std float32, src rng.Source, s shape, c backend.StepParams, first int, withNoise bool) Case {
	return drawCase(std, src, s, c, first, withNoise, samplesOf{
		op: "GatherValues", upload: "Upload",
		set: flat("values", drawnFrom*s.Image(), normal(3)),
		call: func(b backend.Backend, t tensors) {
			b.GatherValues(std, src, t["clean"], t["noisy"], t["values"], t["order"], t["stepParams"], first)
		},
		clean: func(d data, at int) float64 { return d["values"][at] },
		noisy: func(clean float64, n float32) float64 { return float64(float32(clean) + n) },
	})
}

// drawCase draws a batch of samples in an order, with noise or without.
func drawCase(std float32, src rng.Source, s shape, c backend.StepParams, first int, withNoise bool, o samplesOf) Case {
	order := int(c.Offset) + first + s.N
	k := Case{
		Name: fmt.Sprintf("random/%s/%dx%dx%dx%d-std%g-draw%d-offset%d-first%d", strings.ToLower(o.op), s.N, s.H, s.W, s.C, std, c.Draw, c.Offset, first),
		Ops:  []string{o.op, "SetStepParams", o.upload, "UploadIndex"},
		args: []arg{o.set,
			{name: "order", role: backend.Index, shape: backend.Vec(order), fill: grid(0, drawnFrom-1, 1)}, stepParamsArg(c),
			activation("clean", s, nil).out(exact)},
		run: o.call,
	}
	if withNoise {
		k.args = append(k.args, activation("noisy", s, nil).out(exact))
	} else {
		k.Name += "/clean-only"
	}
	k.reference = func(d data) values {
		clean, noisy := make([]float64, s.Len()), make([]float64, s.Len())
		row := func(n int) int { return int(d["order"][int(c.Offset)+first+n]) }
		z := normals(src, s, c.Draw, row)
		for i := range clean {
			clean[i] = o.clean(d, row(i/s.Image())*s.Image()+i%s.Image())
			noisy[i] = o.noisy(clean[i], float32(std*z[i]))
		}
		return values{"clean": {v: clean}, "noisy": {v: noisy}}
	}
	return k
}

// drawOutside returns a case of three samples from position 2 on with an order of four positions, of which the third is that of a
// sample and the fourth of none: the last two images are NaN.
func drawOutside(c Case) Case {
	const there = 1 // images
	c.Name += "/outside"
	c.mistake = true
	c.args = slices.Clone(c.args)
	i := slices.IndexFunc(c.args, func(a arg) bool { return a.name == "order" })
	c.args[i].shape, c.args[i].fill = backend.Vec(4), given(0, 0, 7, drawnFrom)
	inside := c.reference
	c.reference = func(d data) values {
		d = maps.Clone(d)
		d["order"] = []float64{0, 0, 7, 0, 0}
		r := inside(d)
		for _, v := range r {
			for i := len(v.v) / 3 * there; i < len(v.v); i++ {
				v.v[i] = math.NaN()
			}
		}
		return r
	}
	return c
}

// stagedGather returns a gather case whose pixels are staged, twice over, in the order in which they are drawn.
func stagedGather(c Case, s shape, first, offset int) Case {
	c.Name += "/staged"
	c.Ops = append(slices.Clone(c.Ops), "Stage")
	staged := shape{N: first + s.N, H: s.H, W: s.W, C: s.C}
	c.args = append(slices.Clone(c.args), arg{name: "staged", role: backend.Staged, shape: staged, use: scratch})
	gather := c.run
	c.run = func(b backend.Backend, t tensors) {
		pixels := make([]byte, t["pixels"].Shape.Len())
		check(b.DownloadBytes(pixels, t["pixels"]))
		b.Stage(t["staged"], func(p []byte) { clear(p) })
		b.Stage(t["staged"], func(p []byte) {
			for n := range staged.N {
				at := stagedOrder(c)[offset+n] * s.Image()
				copy(p[n*s.Image():], pixels[at:at+s.Image()])
			}
		})
		u := maps.Clone(t)
		u["pixels"] = t["staged"]
		gather(b, u)
	}
	return c
}

// settingDraw returns a case of a draw right after its step parameters were set, which another op then reads.
func settingDraw(k Case, src rng.Source, s shape, c backend.StepParams) Case {
	k.Name += "/setting"
	k.Ops = append(slices.Clone(k.Ops), "Normal")
	k.args = append(slices.Clone(k.args), activation("after", s, nil).out(exact))
	i := slices.IndexFunc(k.args, func(a arg) bool { return a.role == backend.PerStep })
	k.args[i] = stepParamsArg(backend.StepParams{}).scratch()
	draw, drawn := k.run, k.reference
	k.run = func(b backend.Backend, t tensors) {
		b.SetStepParams(t["stepParams"], c)
		draw(b, t)
		b.Normal(src, t["after"], t["stepParams"], 0)
	}
	k.reference = func(d data) values {
		v := drawn(d)
		v["after"] = value{v: floats(normals(src, s, c.Step, func(n int) int { return n }))}
		return v
	}
	return k
}

// stagedOrder is the order of a gather case.
func stagedOrder(c Case) []int {
	var order []int
	for _, i := range c.inputs()["order"] {
		order = append(order, int(i))
	}
	return order
}

// normals draws one row an image.
func normals(src rng.Source, s shape, draw uint32, row func(n int) int) []float32 {
	v := make([]float32, s.Len())
	for i := range v {
		position := i % s.Image()
		v[i] = src.Normals(uint32(position/4), uint32(row(i/s.Image())), draw)[position%4]
	}
	return v
}
