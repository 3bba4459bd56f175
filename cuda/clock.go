package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// clock is step parameters that are still to be set. The op that gathers samples sets them beside its work, because its launch is the
// first of a training step; whatever else comes first has a kernel of one thread set them before it. Either way the values travel as
// arguments of a kernel, so that no host memory has to live until the stream is there.
type clock struct {
	dst    driver.Ptr // 0 if there is nothing to set
	values backend.StepParams
}

// SetStepParams sets step parameters, before the next op that is done.
func (l *lane) SetStepParams(dst backend.Tensor, c backend.StepParams) {
	dst.CheckStepParams()
	l.setClock()
	l.clock = clock{l.at(dst), c}
}

// setClock launches what sets the step parameters, if that is due.
func (l *lane) setClock() {
	c := l.clock
	if c.dst == 0 || l.preparing {
		return
	}
	l.clock = clock{}
	v := c.arguments()
	l.launch("SetStepParams", kernels.VectorClock, driver.Dim3{X: 1}, driver.Dim3{X: 1}, 0, ptr(c.dst), v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7])
}

// takeClock returns the CLOCK_PARAMS of a kernel that is about to be launched and reads the step parameters at p. If they are still to be
// set, the kernel does it.
func (l *lane) takeClock(p driver.Ptr) (a [9]uint64) {
	if l.clock.dst != p || l.preparing {
		return a
	}
	v := l.clock.arguments()
	l.clock = clock{}
	a[0] = 1
	copy(a[1:], v[:])
	return a
}

// arguments are the fields of a StepParams as arguments of a kernel.
func (c *clock) arguments() [8]uint64 {
	v := &c.values
	return [8]uint64{uint64(v.Step), uint64(v.Draw), uint64(v.Offset), f32(v.LearningRate), f32(v.BiasCorrection1), f32(v.BiasCorrection2),
		f32(v.Divergence), f32(v.Temperature)}
}
