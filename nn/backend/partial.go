package backend

// PartialsShape is the shape of so many partial sums of p, the gradients of a layer or a sum W alone: each is a row, with the
// elements of W and those of the bias behind them.
func (p *Params) PartialsShape(count int) Shape {
	return Shape{count, 1, 1, p.W.Shape.Len() + p.Bias.Shape.Len()}
}

// partials checks the partial sums of p: there are none, or as many as the backend makes.
func (p *Params) partials(count int) {
	if p.Partials.IsZero() {
		return
	}
	if count == 0 {
		panic(MistakeShape)
	}
	p.Partials.flat(p.PartialsShape(count))
}

// CheckSumPartials checks the arguments of SumPartials.
func CheckSumPartials(sums []Params) {
	for i := range sums {
		g := &sums[i]
		if g.W.Role == Flat {
			g.W.flat(g.W.Shape)
		} else {
			g.layer(g.W.Shape, g.Bias.Shape.Len())
		}
		g.Partials.flat(g.PartialsShape(g.Partials.Shape.N))
	}
}
