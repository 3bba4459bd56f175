package simd

import "time"

// Limit returns how many multiply-adds a second one core does that does nothing else: the best of a few short tries. Plain Go has no other limit than Speed.
func Limit() float64 {
	const times = 1000
	run, macs := func(int) {}, 0
	switch current {
	case AVX512:
		run, macs = peakAVX512, 28*16
	case AVX2:
		run, macs = peakAVX2, 12*8
	case NEON:
		run, macs = peakNEON, 28*4
	default:
		return Speed()
	}
	return times * float64(macs) / shortest(func() { run(times) }).Seconds()
}

// shortest returns the least time that f takes, of a few tries: other programs only make it slower.
func shortest(f func()) time.Duration {
	least := time.Hour
	for range 20 {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	return max(least, time.Nanosecond)
}

// Speed returns how many multiply-adds a second one core does in products as of a convolution of 32 channels: the best of a few short tries, a millisecond
// or two where there is assembly.
func Speed() float64 {
	const side, channels, kernel = 14, 32, 3
	row := (side + kernel - 1) * channels
	cols := Columns()
	p := &Product{H: side, W: side, N: cols, K: kernel * channels, AH: row, AW: channels, CH: side * cols, CW: cols,
		A: make([]float32, (side+kernel-1)*row), B: make([]float32, kernel*kernel*channels*cols), C: make([]float32, side*side*cols)}
	for i := range kernel {
		p.Taps = append(p.Taps, i*row)
	}
	return side * side * kernel * kernel * channels * float64(cols) / shortest(func() { Multiply(p) }).Seconds()
}
