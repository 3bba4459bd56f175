package backend

// CheckFloats checks a tensor that n float32 values are copied to or from.
func (t *Tensor) CheckFloats(n int) {
	t.values()
	t.length(n)
}

// CheckBytes checks a tensor that n bytes are copied to or from.
func (t *Tensor) CheckBytes(n int) {
	t.given()
	if t.Role != Pixels && t.Role != Staged && t.Role != Argmax {
		panic(MistakeRole)
	}
	if t.Type != Uint8 {
		panic(MistakeType)
	}
	t.length(n)
}

// CheckIndex checks a tensor that n indices are copied to.
func (t *Tensor) CheckIndex(n int) {
	t.check(Index, Int32, t.Shape)
	t.length(n)
}

// CheckFetch checks a tensor that is fetched.
func (t *Tensor) CheckFetch() {
	t.flat(t.Shape)
	if t.Shape.Len() > MaxFetch {
		panic(MistakeLength)
	}
}

// CheckMoved checks a tensor that is moved between devices, of float32.
func (t *Tensor) CheckMoved() { t.flat(t.Shape) }

// CheckStepParams checks a tensor that step parameters are set in.
func (t *Tensor) CheckStepParams() { t.step() }

func (t *Tensor) length(n int) {
	if t.Shape.Len() != n {
		panic(MistakeLength)
	}
}
