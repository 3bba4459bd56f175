package backend

// PartialsShape is the shape of so many partial sums of the gradients p: each is a row, with the weights' elements and the bias's
// behind them.
func (p *Params) PartialsShape(count int) Shape {
	return Shape{count, 1, 1, p.W.Shape.Len() + p.Bias.Shape.Len()}
}

// partials checks the partial sums of gradients: there are none, or as many as the backend makes.
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
func CheckSumPartials(grads []Params) {
	for i := range grads {
		g := &grads[i]
		g.layer(g.W.Shape, g.Bias.Shape.Len())
		g.Partials.flat(g.PartialsShape(g.Partials.Shape.N))
	}
}
