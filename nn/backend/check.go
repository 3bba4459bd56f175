package backend

// A caller's mistakes, with which every backend panics. The checks stand beside the geometry of each family of ops; a
// backend calls them first, and then has only to find the tensors' memory. They allocate nothing.
const (
	MistakeMissing  = "backend: a tensor that the op needs is missing"
	MistakeRole     = "backend: a tensor of the wrong role"
	MistakeType     = "backend: a tensor of the wrong element type"
	MistakeShape    = "backend: a tensor of the wrong shape"
	MistakeBounds   = "backend: a tensor that reaches out of its buffer"
	MistakeAlign    = "backend: a tensor that is not aligned"
	MistakeLength   = "backend: a slice whose length is not the tensor's"
	MistakeGeometry = "backend: a shape that its constructor did not make"
	MistakeChannels = "backend: channels that a tensor does not have"
	MistakeIndex    = "backend: an index outside the data set"
	MistakeAct      = "backend: an unknown activation, or one that the op does not fuse"
	MistakeAlpha    = "backend: an activation whose parameter is not a positive number, or one that has none with a parameter"
	MistakeSum      = "backend: a sum of nothing"
	MistakeCorrupt  = "backend: a corruption with a number that cannot be"
	MistakeRate     = "backend: a dropout rate outside [0, 1)"
)

// given panics when t is the zero Tensor.
func (t *Tensor) given() {
	if t.Buffer == nil {
		panic(MistakeMissing)
	}
}

// check panics unless t is given and has that role, type and shape.
func (t *Tensor) check(r Role, d DType, s Shape) {
	t.given()
	if t.Role != r {
		panic(MistakeRole)
	}
	if t.Type != d {
		panic(MistakeType)
	}
	if t.Shape != s {
		panic(MistakeShape)
	}
}

func (t *Tensor) activation(s Shape) { t.check(Activation, Float32, s) }

// either checks an activation that may be narrow, which is to be of bfloat16.
func (t *Tensor) either(s Shape) { t.of(BFloat16, s) }

// of checks an activation that may be as narrow as the factors of its product, which are of that type.
func (t *Tensor) of(multiply DType, s Shape) {
	t.given()
	if t.Type == BFloat16 && multiply == BFloat16 {
		t.check(Activation, BFloat16, s)
		return
	}
	t.activation(s)
}

func (t *Tensor) param(s Shape) { t.check(Param, Float32, s) }
func (t *Tensor) flat(s Shape)  { t.check(Flat, Float32, s) }

// one checks a Flat tensor of one element.
func (t *Tensor) one() {
	t.flat(t.Shape)
	if t.Shape.Len() != 1 {
		panic(MistakeShape)
	}
}

// step checks step parameters.
func (t *Tensor) step() { t.check(PerStep, Float32, t.Shape) }

// floats checks a tensor of any of the roles that hold parameters or values, and of float32.
func (t *Tensor) floats() {
	t.given()
	if t.Role > Flat {
		panic(MistakeRole)
	}
	if t.Type != Float32 {
		panic(MistakeType)
	}
}

// values is floats but for activations, which may be narrow.
func (t *Tensor) values() {
	if t.Role == Activation {
		t.either(t.Shape)
		return
	}
	t.floats()
}

// like checks that t has the role, the type and the shape of another tensor.
func (t *Tensor) like(o *Tensor) { t.check(o.Role, o.Type, o.Shape) }

// fused panics unless the activation is one of those that an op fuses.
func (a Act) fused() {
	if !a.Fuses() {
		panic(MistakeAct)
	}
}

// layer checks the weights and the bias of a layer. The bias can be zero, and there are as many as the layer has outputs.
func (p *Params) layer(weights Shape, outputs int) {
	p.W.param(weights)
	if !p.Bias.IsZero() {
		p.Bias.param(Vec(outputs))
	}
}

// CheckBounds panics unless a tensor of n bytes is aligned and lies within a buffer of that size.
func (t *Tensor) CheckBounds(buffer, n int) {
	align := Align
	if t.Role == Flat {
		align = t.Type.Size()
	}
	if t.Offset%align != 0 {
		panic(MistakeAlign)
	}
	if t.Offset < 0 || n < 0 || n > buffer-t.Offset {
		panic(MistakeBounds)
	}
}
