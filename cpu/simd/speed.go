package simd

import "time"

// Speed returns how many multiply-adds a second one core does in products as of a convolution of 32 channels: the best of a few short tries, a millisecond
// or so where there is assembly, since other programs only make it slower.
func Speed() float64 {
	const side, channels, kernel = 14, 32, 3
	row := (side + kernel - 1) * channels
	cols := Columns()
	p := &Product{H: side, W: side, N: cols, K: kernel * channels, AH: row, AW: channels, CH: side * cols, CW: cols,
		A: make([]float32, (side+kernel-1)*row), B: make([]float32, kernel*kernel*channels*cols), C: make([]float32, side*side*cols)}
	for i := range kernel {
		p.Taps = append(p.Taps, i*row)
	}
	least := time.Hour
	for range 10 {
		start := time.Now()
		Multiply(p)
		least = min(least, time.Since(start))
	}
	return side * side * kernel * kernel * channels * float64(cols) / max(least, time.Nanosecond).Seconds()
}
