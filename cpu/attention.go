package cpu

import (
	"math"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// attentionRows is how many queries are taken at a time, with as many keys as a product has columns.
const attentionRows = 64

// attention is the work on one head of one image. The rows of its tensors are positions, channels of all heads apart.
type attention struct {
	l                       *lane
	positions, size, stride int
	columns                 int
	scale                   float64
	scores, slopes, turned  []float32 // tiles of the matrices of scores and of their gradients, and one of them turned
	panel                   []float32 // the second factor of a product
	most, total             []float32 // of each row of a tile
}

func (l *lane) attention(s *backend.AttentionShape) attention {
	columns, ws := simd.Columns(), scratch(l.ws)
	a := attention{l: l, positions: s.Positions(), size: s.Head(), stride: s.X.C, columns: columns, scale: 1 / math.Sqrt(float64(s.Head()))}
	tile := attentionRows * columns
	a.scores, a.slopes, a.turned = ws.take(tile), ws.take(tile), ws.take(tile)
	a.panel, a.most, a.total = ws.take(max(s.Head(), attentionRows)*columns), ws.take(attentionRows), ws.take(attentionRows)
	return a
}

// AttentionNeeds returns the memory of the tiles.
func (l *lane) AttentionNeeds(s backend.AttentionShape) backend.Needs {
	s.Check()
	columns := simd.Columns()
	n := 4 * (3*lineUp(attentionRows*columns) + lineUp(max(s.Head(), attentionRows)*columns) + 2*lineUp(attentionRows))
	return backend.Needs{Workspace: n, Forward: n}
}

// multiply does c = a b, or c += a b: a has so many rows of k elements, b is the panel, of k rows of which n columns count.
func (a *attention) multiply(c []float32, stride int, x []float32, xStride, rows, k, n int, mode simd.Mode) {
	p := &a.l.product
	a.l.taps[0] = 0
	*p = simd.Product{C: c, CW: stride, A: x, AW: xStride, Taps: a.l.taps[:1], K: k, B: a.panel, Mode: mode, H: 1, W: rows, N: n}
	simd.Multiply(p)
}

// products leaves in tile the products of rows of x and of y: of each of the first, those with n of the second, from position at on.
func (a *attention) products(tile, x, y []float32, rows, at, n int) {
	clear(a.panel)
	for j := range n {
		for d, v := range y[(at+j)*a.stride:][:a.size] {
			a.panel[d*a.columns+j] = v
		}
	}
	a.multiply(tile, a.columns, x, a.stride, rows, a.size, n, simd.Store)
}

// add adds to rows of c the rows of y, n of them, times the elements of a row of a tile.
func (a *attention) add(c, tile []float32, tileStride, rows int, y []float32, n int) {
	for d := 0; d < a.size; d += a.columns {
		w := min(a.columns, a.size-d)
		for j := range n {
			clear(a.panel[j*a.columns+w:][:a.columns-w])
			copy(a.panel[j*a.columns:][:w], y[j*a.stride+d:])
		}
		a.multiply(c[d:], a.stride, tile, tileStride, rows, n, w, simd.Add)
	}
}

// turn leaves in turned a tile of so many rows and columns with rows and columns exchanged.
func (a *attention) turn(tile []float32, rows, columns int) {
	for r := range rows {
		for c := range columns {
			a.turned[c*attentionRows+r] = tile[r*a.columns+c]
		}
	}
}

// Attention goes over the keys of each tile of queries: what the largest score so far of a query has been taken off is scaled down when a
// larger one comes.
func (l *lane) Attention(s backend.AttentionShape, out, stats, q, k, v backend.Tensor) {
	s.CheckForward(&out, &stats, &q, &k, &v)
	a := l.attention(&s)
	o, queries, keys, values, st := l.floats(out), l.floats(q), l.floats(k), l.floats(v), l.floats(stats)
	clear(o)
	for head := range s.X.N * s.Heads {
		at := head/s.Heads*a.positions*a.stride + head%s.Heads*a.size
		for first := 0; first < a.positions; first += attentionRows {
			rows := min(attentionRows, a.positions-first)
			result := o[at+first*a.stride:]
			a.forward(result, queries[at+first*a.stride:], keys[at:], values[at:], rows)
			for r := range rows {
				row := result[r*a.stride:][:a.size]
				for i, x := range row {
					row[i] = x / a.total[r]
				}
				if st != nil {
					st[head*a.positions+first+r] = float32(float64(a.most[r]) + math.Log(float64(a.total[r])))
				}
			}
		}
	}
	round(out.Type, o)
}

// forward sums the values of a tile of queries, each times the exponential of its score less the largest one.
func (a *attention) forward(out, q, k, v []float32, rows int) {
	for r := range rows {
		a.most[r], a.total[r] = float32(math.Inf(-1)), 0
	}
	for at := 0; at < a.positions; at += a.columns {
		n := min(a.columns, a.positions-at)
		a.products(a.scores, q, k, rows, at, n)
		for r := range rows {
			row := a.scores[r*a.columns:][:n]
			largest := a.most[r]
			for i, x := range row {
				row[i] = float32(float64(x) * a.scale)
				largest = max(largest, row[i])
			}
			if shrink := exp(a.most[r] - largest); shrink != 1 {
				a.total[r] *= shrink
				sums := out[r*a.stride:][:a.size]
				for i := range sums {
					sums[i] *= shrink
				}
			}
			sum := float32(0)
			for i, x := range row {
				row[i] = exp(x - largest)
				sum += row[i]
			}
			a.most[r], a.total[r] = largest, a.total[r]+sum
		}
		a.add(out, a.scores, a.columns, rows, v[at*a.stride:], n)
	}
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// AttentionBack makes the scores of each tile again, and of them the gradients.
func (l *lane) AttentionBack(s backend.AttentionShape, gradQ, gradK, gradV, gradOut, out, stats, q, k, v backend.Tensor) {
	s.CheckBack(&gradQ, &gradK, &gradV, &gradOut, &out, &stats, &q, &k, &v)
	a := l.attention(&s)
	gq, gk, gv, g, o := l.floats(gradQ), l.floats(gradK), l.floats(gradV), l.floats(gradOut), l.floats(out)
	queries, keys, values, st := l.floats(q), l.floats(k), l.floats(v), l.floats(stats)
	clear(gq)
	clear(gk)
	clear(gv)
	for head := range s.X.N * s.Heads {
		at := head/s.Heads*a.positions*a.stride + head%s.Heads*a.size
		for first := 0; first < a.positions; first += attentionRows {
			rows := min(attentionRows, a.positions-first)
			from := at + first*a.stride
			for r := range rows {
				sum := 0.0
				for i, x := range o[from+r*a.stride:][:a.size] {
					sum += float64(x) * float64(g[from+r*a.stride+i])
				}
				a.total[r] = float32(sum)
			}
			a.back(gq[from:], gk[at:], gv[at:], g[from:], queries[from:], keys[at:], values[at:], st[head*a.positions+first:][:rows])
		}
	}
	round(gradQ.Type, gq)
	round(gradK.Type, gk)
	round(gradV.Type, gv)
}

// back adds the gradients of a tile of queries: with a weight w and the product p of the gradient of a query's output and the values of a
// key, that of a score is w (p - total).
func (a *attention) back(gq, gk, gv, g, q, k, v, stats []float32) {
	rows := len(stats)
	for at := 0; at < a.positions; at += a.columns {
		n := min(a.columns, a.positions-at)
		a.products(a.scores, q, k, rows, at, n)
		a.products(a.slopes, g, v, rows, at, n)
		for r := range rows {
			for c := r * a.columns; c < r*a.columns+n; c++ {
				w := exp(float32(float64(a.scores[c])*a.scale) - stats[r])
				a.scores[c], a.slopes[c] = w, float32(float64(w*(a.slopes[c]-a.total[r]))*a.scale)
			}
		}
		a.add(gq, a.slopes, a.columns, rows, k[at*a.stride:], n)
		a.turn(a.slopes, rows, n)
		a.add(gk[at*a.stride:], a.turned, attentionRows, n, q, rows)
		a.turn(a.scores, rows, n)
		a.add(gv[at*a.stride:], a.turned, attentionRows, n, g, rows)
	}
}
