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

// statsOf returns the shape of the means and the logarithms of variances of a code.
func statsOf(code Shape) Shape { code.C *= 2; return code }
