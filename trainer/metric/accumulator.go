package metric

import "sync"

// Values are the metrics of N images. Apart from MaxAbs and MaxDistance each is
// the mean over the images of the image's own value.
type Values struct {
	N           int     // number of images
	MSE         float64 // mean squared error
	MAE         float64 // mean absolute error
	BCE         float64 // binary cross-entropy, nats per value; predictions are clipped to [1e-7, 1-1e-7]
	PSNR        float64 // peak signal-to-noise ratio for a peak of 1, in dB; at most MaxPSNR
	SSIM        float64 // structural similarity, at most 1
	MaxAbs      float64 // largest absolute error of any pixel
	MaxDistance float64 // largest Euclidean distance of an image from its target
}

// Accumulator gathers the metrics of the images added to it. The zero value is
// ready to use. Its methods must not be called at the same time as each other.
type Accumulator struct {
	// Workers is the number of goroutines that Add divides a batch between.
	// Below 2 the caller's own goroutine does the work.
	Workers int

	total   Values   // sums over the images, but the maxima for MaxAbs and MaxDistance
	images  []Values // values of each image of the batch at hand
	filters []filter // one for each worker
}

// Add adds the images of pred and target, each of h by w pixels and c channels
// in NHWC order. It panics if h, w or c is below 1, or if the lengths differ or
// do not hold a whole number of images.
func (a *Accumulator) Add(pred, target []float32, h, w, c int) {
	if h < 1 || w < 1 || c < 1 {
		panic("metric: image dimension below 1")
	}
	if len(pred) != len(target) {
		panic("metric: lengths differ")
	}
	size := h * w * c
	if len(pred)%size != 0 {
		panic("metric: length is not a whole number of images")
	}
	n := len(pred) / size
	a.reserve(n)

	workers := min(len(a.filters), n)
	if workers < 2 {
		evaluate(a.images, &a.filters[0], pred, target, h, w, c)
	} else {
		a.parallel(workers, pred, target, h, w, c)
	}

	// Summing in image order makes the result independent of the workers.
	for i := range a.images {
		a.total.add(&a.images[i])
	}
}

// Merge adds the images of b, as though they had been added after those of a.
// The sums are added as they stand, so the means can differ in the last bits
// from those of a single accumulator.
func (a *Accumulator) Merge(b *Accumulator) {
	a.total.add(&b.total)
}

// Sums returns the sums over the images added so far, and of the largest differences the largest.
func (a *Accumulator) Sums() Values { return a.total }

// AddSums adds images of which another accumulator has those sums.
func (a *Accumulator) AddSums(sums Values) { a.total.add(&sums) }

// Reset forgets the images added so far.
func (a *Accumulator) Reset() {
	a.total = Values{}
}

// Result returns the metrics of the images added so far: all zero if there
// were none.
func (a *Accumulator) Result() Values {
	v := a.total
	if v.N > 0 {
		n := float64(v.N)
		v.MSE /= n
		v.MAE /= n
		v.BCE /= n
		v.PSNR /= n
		v.SSIM /= n
	}
	return v
}

// Evaluate returns the metrics of one batch, computed on the given number of
// goroutines. It panics as [Accumulator.Add] does.
func Evaluate(pred, target []float32, h, w, c, workers int) Values {
	a := Accumulator{Workers: workers}
	a.Add(pred, target, h, w, c)
	return a.Result()
}

// reserve makes room for the values of n images and the scratch of the workers.
func (a *Accumulator) reserve(n int) {
	if cap(a.images) < n {
		a.images = make([]Values, n)
	}
	a.images = a.images[:n]
	if workers := max(a.Workers, 1); len(a.filters) != workers {
		a.filters = make([]filter, workers)
	}
}

// parallel evaluates the batch with each worker on a run of images of its own.
func (a *Accumulator) parallel(workers int, pred, target []float32, h, w, c int) {
	n, size := len(a.images), h*w*c
	var wg sync.WaitGroup
	for k := range workers {
		lo, hi := n*k/workers, n*(k+1)/workers
		wg.Go(func() {
			evaluate(a.images[lo:hi], &a.filters[k], pred[lo*size:hi*size], target[lo*size:hi*size], h, w, c)
		})
	}
	wg.Wait()
}

// evaluate stores the values of each image in images.
func evaluate(images []Values, f *filter, pred, target []float32, h, w, c int) {
	size := h * w * c
	for i := range images {
		p, t := pred[i*size:][:size], target[i*size:][:size]
		images[i] = Pixelwise(p, t)
		images[i].SSIM = f.ssim(p, t, h, w, c)
	}
}

// add adds the sums in b to those in v.
func (v *Values) add(b *Values) {
	v.N += b.N
	v.MSE += b.MSE
	v.MAE += b.MAE
	v.BCE += b.BCE
	v.PSNR += b.PSNR
	v.SSIM += b.SSIM
	v.MaxAbs = max(v.MaxAbs, b.MaxAbs)
	v.MaxDistance = max(v.MaxDistance, b.MaxDistance)
}
