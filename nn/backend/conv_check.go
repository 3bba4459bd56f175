package backend

// Check panics unless the shape is one that NewConv makes.
func (s *ConvShape) Check() {
	if s.Stride < 1 || s.Up < 1 || s.Pool < 1 {
		panic(MistakeGeometry)
	}
}

// CheckForward checks the arguments of Conv. The arg-max can be zero.
func (s *ConvShape) CheckForward(out, argmax, x *Tensor, p *Params) {
	s.Check()
	s.Act.fused()
	out.of(s.Multiply, s.Out)
	x.of(s.Multiply, s.X)
	if !argmax.IsZero() {
		s.argmax(argmax)
	}
	p.layer(s.Weights(), s.Filters)
}

// CheckBackInput checks the arguments of ConvBackInput.
func (s *ConvShape) CheckBackInput(gradX, gradOut, argmax *Tensor, p *Params, x *Tensor) {
	s.Check()
	gradX.of(s.Multiply, s.X)
	gradOut.of(s.Multiply, s.Out)
	s.argmax(argmax)
	p.W.param(s.Weights())
	x.derived(s.InAct, s.Multiply, s.X)
}

// CheckBackWeights checks the arguments of ConvBackWeights, on a backend that makes so many partial sums.
func (s *ConvShape) CheckBackWeights(grad *Params, partials int, gradOut, argmax, x *Tensor) {
	s.Check()
	gradOut.of(s.Multiply, s.Out)
	s.argmax(argmax)
	x.of(s.Multiply, s.X)
	grad.layer(s.Weights(), s.Filters)
	grad.partials(partials)
}

// argmax checks the arg-max of the pool, which is of no account when there is no pool.
func (s *ConvShape) argmax(t *Tensor) {
	if s.Pool > 1 {
		t.check(Argmax, Uint8, s.Out)
	}
}

// derived checks the output of an activation whose derivative is wanted. That of the linear one needs no output.
func (t *Tensor) derived(a Act, multiply DType, s Shape) {
	a.fused()
	if a != Linear {
		t.of(multiply, s)
	}
}

// Check panics unless the shape is one that NewConvTranspose makes.
func (s *ConvTransposeShape) Check() { s.Dual.Check() }

// CheckForward checks the arguments of ConvTranspose.
func (s *ConvTransposeShape) CheckForward(out, x *Tensor, p *Params) {
	s.Check()
	s.Act.fused()
	out.of(s.Multiply, s.Out)
	x.of(s.Multiply, s.X)
	p.layer(s.Weights(), s.Filters)
}

// CheckBackInput checks the arguments of ConvTransposeBackInput.
func (s *ConvTransposeShape) CheckBackInput(gradX, gradOut *Tensor, p *Params, x *Tensor) {
	s.Check()
	gradX.of(s.Multiply, s.X)
	gradOut.of(s.Multiply, s.Out)
	p.W.param(s.Weights())
	x.derived(s.InAct, s.Multiply, s.X)
}

// CheckBackWeights checks the arguments of ConvTransposeBackWeights, on a backend that makes so many partial sums.
func (s *ConvTransposeShape) CheckBackWeights(grad *Params, partials int, gradOut, x *Tensor) {
	s.Check()
	gradOut.of(s.Multiply, s.Out)
	x.of(s.Multiply, s.X)
	grad.layer(s.Weights(), s.Filters)
	grad.partials(partials)
}
