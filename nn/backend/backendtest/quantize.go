package backendtest

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// quantiser is a codebook of so many vectors for pixels x.
type quantiser struct {
	x     shape
	codes int
}

func quantizeCases() []Case {
	var cases []Case
	src := rng.Source{Seed: 0x123456789, Stream: rng.StreamLayer + 1}
	for i, q := range []quantiser{{shape{N: 1, H: 1, W: 1, C: 1}, 2}, {shape{N: 3, H: 5, W: 7, C: 3}, 11}, {shape{N: 2, H: 1, W: 1, C: 257}, 5},
		{shape{N: 2, H: 9, W: 16, C: 16}, 65}, {shape{N: 7, H: 3, W: 2, C: 4}, 33}} {
		cases = append(cases, q.forward("", normal(1), normal(1), true), q.forward("/value-only", normal(1), normal(1), false),
			q.sums(src, backend.StepParams{Step: uint32(i)}, 0, q.x.N), q.sums(src, backend.StepParams{Step: 9}, 2+i, 9*q.x.N+i),
			q.move(1, backend.Moves{Decay: 0.99, Epsilon: 1e-5, Revive: 1}), q.move(3, backend.Moves{Decay: 0.5, Epsilon: 0.1}))
	}
	q := quantiser{shape{N: 2, H: 6, W: 5, C: 3}, 70}
	bench := quantiser{shape{N: 32, H: 7, W: 7, C: 16}, 128}.forward("", normal(1), normal(1), true)
	bench.Bench = true
	return append(cases, q.forward("/constant", given(0.5), normal(1), true), q.forward("/equal", normal(1), given(0.25), true),
		q.forward("/nan", mixed(normal(1), nan), normal(1), true), q.forward("/infinite", mixed(normal(1), inf, 1e30), normal(1), false),
		bordered(q.forward("", normal(1), normal(1), true), "out"), bench)
}

// numbers is the shape of one number for each pixel, book that of the codebook.
func (q quantiser) numbers() shape { return shape{N: q.x.N, H: q.x.H, W: q.x.W, C: 1} }
func (q quantiser) book() shape    { return shape{N: q.codes, H: 1, W: 1, C: q.x.C} }

func (q quantiser) name(op, suffix string) string {
	return fmt.Sprintf("quantize/%s/%dx%dx%dx%d-of%d%s", op, q.x.N, q.x.H, q.x.W, q.x.C, q.codes, suffix)
}

func (q quantiser) forward(suffix string, x, book fill, index bool) Case {
	c := Case{
		Name: q.name("forward", suffix), Ops: []string{"Quantize"},
		args: []arg{activation("x", q.x, x), param("codebook", q.book(), book), activation("out", q.x, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.Quantize(t["out"], t["index"], t["x"], t["codebook"]) },
	}
	if index {
		c.args = append(c.args, activation("index", q.numbers(), nil).out(exact))
	}
	c.reference = func(d data) values {
		var out, index []float64
		for p := 0; p < len(d["x"]); p += q.x.C {
			nearest, least := 0, math.NaN()
			for k := range q.codes {
				sum := 0.0
				for i, v := range d["x"][p:][:q.x.C] {
					sum += (v - d["codebook"][k*q.x.C+i]) * (v - d["codebook"][k*q.x.C+i])
				}
				if sum > math.MaxFloat32 {
					sum = math.Inf(1)
				}
				if k == 0 || sum < least {
					nearest, least = k, sum
				}
			}
			for i := range q.x.C {
				v := d["codebook"][nearest*q.x.C+i]
				if math.IsNaN(least) {
					v = least
				}
				out = append(out, v)
			}
			index = append(index, float64(nearest))
		}
		return values{"out": {v: out, mag: out}, "index": {v: index}}
	}
	return c
}

// sums has samples first and on of a batch.
func (q quantiser) sums(src rng.Source, step backend.StepParams, first, count int) Case {
	size := backend.QuantizeRow(q.book())
	return Case{
		Name: q.name("sums", fmt.Sprintf("-step%d-first%d", step.Step, first)), Ops: []string{"QuantizeSums"},
		args: []arg{activation("x", q.x, normal(1)), activation("index", q.numbers(), func(d draw, v []float32) {
			d.uniforms(v)
			for i := range v {
				v[i] = float32(math.Floor(float64(v[i]) * float64(q.codes)))
			}
		}), stepParamsArg(step), flat("row", size, nil).out(sumBound(q.x.Len() / q.x.C))},
		run: func(b backend.Backend, t tensors) {
			b.QuantizeSums(src, t["row"], t["index"], t["x"], t["stepParams"], first, count)
		},
		reference: func(d data) values {
			r := value{v: make([]float64, size), mag: make([]float64, size)}
			c, pixels := q.x.C, q.x.H*q.x.W
			for p, k := range d["index"] {
				r.add(int(k), 1)
				for i, v := range d["x"][p*c:][:c] {
					r.add(q.codes+int(k)*c+i, v)
				}
			}
			for k := range q.codes {
				hi, _ := bits.Mul32(src.Words(uint32(k/4), 0, step.Step)[k%4], uint32(count*pixels))
				if p := int(hi) - first*pixels; p >= 0 && p < q.x.N*pixels {
					for i, v := range d["x"][p*c:][:c] {
						r.add(q.codes*(c+1)+k*c+i, v)
					}
				}
			}
			return values{"row": r}
		},
	}
}

// move has so many rows. Counts are such that some vectors of the codebook die.
func (q quantiser) move(rows int, o backend.Moves) Case {
	size := backend.QuantizeRow(q.book())
	bound := backend.Bound{Rel: float64(rows+q.codes+16) * eps} // the additions of a sum over rows, and over the codes, and what is done besides
	return Case{
		Name: q.name("move", fmt.Sprintf("-in%d-revive%g", rows, o.Revive)), Ops: []string{"QuantizeMove"},
		args: []arg{{name: "rows", role: backend.Flat, shape: shape{N: rows, H: 1, W: 1, C: size}, fill: uniform(0, 4)},
			param("codebook", q.book(), normal(1)).inout(bound), param("count", backend.Vec(q.codes), uniform(0.1, 3)).inout(bound), param("sum", q.book(), normal(1)).inout(bound)},
		run:       func(b backend.Backend, t tensors) { b.QuantizeMove(o, t["codebook"], t["count"], t["sum"], t["rows"]) },
		reference: func(d data) values { return q.moved(o, d["count"], d["sum"], d["rows"]) },
	}
}

// moved is what becomes of a codebook and of its averages.
func (q quantiser) moved(o backend.Moves, count, sum, rows []float64) values {
	c, keep := q.x.C, float64(o.Decay)
	r := values{"codebook": {v: make([]float64, len(sum)), mag: make([]float64, len(sum))}, "count": {v: make([]float64, len(count)), mag: make([]float64, len(count))}, "sum": {v: make([]float64, len(sum)), mag: make([]float64, len(sum))}}
	totals := make([]float64, q.codes*(2*c+1))
	for i, v := range rows {
		totals[i%len(totals)] += v
	}
	m := 0.0
	for k, n := range totals[:q.codes] {
		r["count"].v[k] = keep*count[k] + (1-keep)*n
		m += r["count"].v[k]
	}
	for k, n := range r["count"].v {
		dead := n < float64(o.Revive)
		for i := k * c; i < (k+1)*c; i++ {
			if dead {
				v := totals[q.codes*(c+1)+i]
				r["codebook"].v[i], r["codebook"].mag[i] = v, math.Abs(v)
				r["sum"].v[i], r["sum"].mag[i] = float64(o.Revive)*v, float64(o.Revive)*math.Abs(v)
				continue
			}
			a, b, by := keep*sum[i], (1-keep)*totals[q.codes+i], (m+float64(q.codes)*float64(o.Epsilon))/(m*(n+float64(o.Epsilon)))
			r["sum"].v[i], r["sum"].mag[i] = a+b, math.Abs(a)+math.Abs(b)
			r["codebook"].v[i], r["codebook"].mag[i] = by*(a+b), by*(math.Abs(a)+math.Abs(b))
		}
		if dead {
			r["count"].v[k] = float64(o.Revive)
		}
		r["count"].mag[k] = r["count"].v[k]
	}
	return r
}

// quantisation is the golden case of a quantisation: the nearest vectors, the loss of both the codebook's and the commitment's terms with the
// commitment's gradient, and the moving averages. The codebook's own gradient is no part of it: averages move it instead.
func (g golden) quantisation() ([]Case, error) {
	x, err := g.shapeOf("x", 2, 4)
	if err != nil {
		return nil, err
	}
	book, err := g.shapeOf("codebook", 2)
	if err != nil {
		return nil, err
	}
	if book.C != x.C {
		return nil, fmt.Errorf("the codebook has vectors of %d, the input pixels of %d channels", book.C, x.C)
	}
	q := quantiser{x, book.N}
	forward, err := g.fit(q.forward("", nil, nil, false), "forward", nil)
	if err != nil {
		return nil, err
	}
	commitment := or(g.Commitment, 0.25)
	loss := mse.on(x, "", nil, nil, true)
	loss.args = append(loss.args, flat("commitment", 1, given(0)).inout(sumBound(x.Len()+1)))
	loss.run = func(b backend.Backend, t tensors) {
		b.MSE((1+commitment)/float32(x.Len()), t["loss"], backend.Tensor{}, backend.Tensor{}, t["pred"], t["target"])
		b.MSE(commitment/float32(x.Len()), t["commitment"], backend.Tensor{}, t["grad"], t["pred"], t["target"])
	}
	loss.reference = func(d data) values {
		both, _ := refLoss(mse, (1+float64(commitment))/float64(x.Len()), d["loss"], d["pred"], d["target"])
		own, grad := refLoss(mse, float64(commitment)/float64(x.Len()), d["commitment"], d["pred"], d["target"])
		return values{"loss": both, "commitment": own, "grad": grad}
	}
	if loss, err = g.fit(loss, "loss", map[string]string{"pred": "x", "target": "out", "grad": "grad_x"}); err != nil {
		return nil, err
	}
	o := backend.Moves{Decay: or(g.Decay, 0.99), Epsilon: g.Epsilon}
	src := rng.Source{Seed: 1, Stream: rng.StreamLayer}
	move := q.move(1, o)
	row := backend.QuantizeRow(book)
	move.Ops = []string{"Quantize", "QuantizeSums", "QuantizeMove"}
	move.args = []arg{activation("x", x, nil), param("codebook0", book, nil), param("count0", backend.Vec(book.N), nil), param("sum0", book, nil), stepParamsArg(backend.StepParams{Step: 1}),
		activation("out", x, nil).scratch(), activation("index", q.numbers(), nil).scratch(), {name: "rows", role: backend.Flat, shape: backend.Vec(row), use: scratch},
		param("codebook", book, nil).out(move.args[1].bound), param("count", backend.Vec(book.N), nil).out(move.args[2].bound), param("sum", book, nil).out(move.args[3].bound)}
	move.run = func(b backend.Backend, t tensors) {
		for _, name := range []string{"codebook", "count", "sum"} {
			b.Copy(t[name], t[name+"0"])
		}
		b.Quantize(t["out"], t["index"], t["x"], t["codebook"])
		b.QuantizeSums(src, t["rows"], t["index"], t["x"], t["stepParams"], 0, x.N)
		b.QuantizeMove(o, t["codebook"], t["count"], t["sum"], t["rows"])
	}
	move.reference = func(d data) values {
		index := q.forward("", nil, nil, true).reference(data{"x": d["x"], "codebook": d["codebook0"]})["index"].v
		totals := make([]float64, row)
		for p, k := range index {
			totals[int(k)]++
			for i, v := range d["x"][p*x.C:][:x.C] {
				totals[q.codes+int(k)*x.C+i] += v
			}
		}
		return q.moved(o, d["count0"], d["sum0"], totals)
	}
	move, err = g.fit(move, "averages", map[string]string{"codebook0": "codebook", "count0": "ema_count", "sum0": "ema_sum", "codebook": "ema_codebook_after", "count": "ema_count_after",
		"sum": "ema_sum_after", "out": "none", "index": "none"}) // the numbers in the file are no float32, and the vectors of the first case say which they are
	return []Case{forward, loss, move}, err
}
