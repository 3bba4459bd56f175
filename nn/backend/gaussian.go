package backend

// CheckSample checks the arguments of Sample. The step parameters can be zero.
func CheckSample(code, stats, stepParams *Tensor) {
	code.activation(code.Shape)
	stats.activation(statsOf(code.Shape))
	if !stepParams.IsZero() {
		stepParams.step()
	}
}

// CheckSampleBack checks the arguments of SampleBack.
func CheckSampleBack(loss, gradStats, gradCode, stats, stepParams *Tensor) {
	loss.one()
	gradCode.activation(gradCode.Shape)
	gradStats.activation(statsOf(gradCode.Shape))
	stats.activation(statsOf(gradCode.Shape))
	stepParams.step()
}

// Limits are the smallest and the largest of some values.
type Limits struct{ Min, Max float32 }

// CheckClampVariance checks the arguments of ClampVariance, or those of ClampVarianceBack.
func CheckClampVariance(tensors ...*Tensor) {
	s := tensors[0].Shape
	if s.C%2 != 0 {
		panic(MistakeShape)
	}
	for _, t := range tensors {
		t.activation(s)
	}
}

// statsOf returns the shape of the means and the logarithms of variances of a code.
func statsOf(code Shape) Shape { code.C *= 2; return code }
