package dataset

import (
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	digitClasses = 10
	digitSide    = 28 // pixels, height and width of a drawn digit

	digitsTrain, digitsTest = 12000, 2000
)

// Digits draws n greyscale images of the handwritten-looking digits 0 to 9,
// white on black, sized and centred as in MNIST (28×28×1). They are drawn
// from strokes and need no data from outside.
//
// Every ten images in a row, counted from the first, hold each digit once in
// a random order. Image i and its label depend on seed and i alone, bit for
// bit and on every architecture; so a set is the beginning of any longer set
// of the same seed. An n below 1 gives an empty set.
func Digits(n int, seed uint64) *Set {
	n = max(n, 0)
	s := &Set{
		Name: "digits", H: digitSide, W: digitSide, C: 1,
		Pixels: make([]uint8, n*digitSide*digitSide),
		Labels: make([]uint8, n),
	}
	eachOf(n, func(i int) {
		s.Labels[i] = digitLabel(seed, i)
		drawDigit(s.Image(i), int(s.Labels[i]), newDice(seed, uint64(i)))
	})
	return s
}

// eachOf calls draw for all numbers below n, from as many goroutines as there
// are processors.
func eachOf(n int, draw func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				draw(i)
			}
		})
	}
	wg.Wait()
}

// DigitsSplit draws 12000 digits for training and 2000 others for testing.
func DigitsSplit(seed uint64) (train, test *Set) {
	all := Digits(digitsTrain+digitsTest, seed)
	return all.Slice(0, digitsTrain), all.Slice(digitsTrain, digitsTrain+digitsTest)
}

// digitLabel returns the digit that image i shows: place i%10 of a
// permutation of the ten digits that is shuffled anew for each ten images.
func digitLabel(seed uint64, i int) uint8 {
	d := newDice(^seed, uint64(i/digitClasses)) // ^: another stream than the drawings'
	order := [digitClasses]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for j := digitClasses - 1; j > 0; j-- {
		k := d.intn(j + 1)
		order[j], order[k] = order[k], order[j]
	}
	return order[i%digitClasses]
}
