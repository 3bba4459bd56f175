package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"slices"
	"testing"
)

// The drawings are part of what makes a training run reproducible, so every
// bit of them is pinned, for all architectures.
func TestDigitsPinned(t *testing.T) {
	s := Digits(200, 1)
	sum := sha256.Sum256(append(slices.Clone(s.Pixels), s.Labels...))
	const want = "67cee0265b68c139e1b180f262f1389efe5c4b30ef291ef61bc318b69576b6f0"
	if found := hex.EncodeToString(sum[:]); found != want {
		t.Errorf("SHA-256 of Digits(200, 1) is %s, want %s", found, want)
	}
}

func TestDigitsDependOnSeedAndIndexOnly(t *testing.T) {
	long := Digits(137, 7)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	short := Digits(53, 7)
	if !bytes.Equal(short.Pixels, long.Slice(0, 53).Pixels) || !bytes.Equal(short.Labels, long.Labels[:53]) {
		t.Error("53 digits drawn by one goroutine are not the beginning of 137 drawn by several")
	}
	other := Digits(53, 8)
	if bytes.Equal(other.Labels, short.Labels) {
		t.Error("seeds 7 and 8 give the same labels")
	}
	for i := range other.Len() {
		if bytes.Equal(other.Image(i), short.Image(i)) {
			t.Errorf("seeds 7 and 8 give the same image %d", i)
		}
	}
}

func TestDigitsBalanced(t *testing.T) {
	var count [digitClasses]int
	for _, label := range Digits(500, 3).Labels {
		count[label]++
	}
	for digit, n := range count {
		if n != 50 {
			t.Errorf("digit %d comes %d times in 500, want 50", digit, n)
		}
	}
	for _, n := range []int{0, -1} {
		if s := Digits(n, 3); s.Len() != 0 {
			t.Errorf("Digits(%d) has %d images, want 0", n, s.Len())
		}
	}
}

func TestDigitsSplit(t *testing.T) {
	train, test := DigitsSplit(2)
	if train.Len() != 12000 || len(train.Labels) != 12000 || test.Len() != 2000 || len(test.Labels) != 2000 {
		t.Errorf("%d and %d images, want 12000 and 2000", train.Len(), test.Len())
	}
	seen := make(map[string]bool)
	for i := range train.Len() {
		seen[string(train.Image(i))] = true
	}
	for i := range test.Len() {
		if seen[string(test.Image(i))] {
			t.Errorf("test image %d is also one for training", i)
		}
	}
}

// Digits are inside of the margin, filled as MNIST's box of 20×20 pixels is,
// and about as bright: MNIST's mean is 0.131, with 19 percent of the pixels
// not black.
func TestDigitsLookLikeMNIST(t *testing.T) {
	const n = 2000
	s := Digits(n, 5)
	var sum, inked, offCentre float64
	for i := range n {
		var mass, momentX, momentY float64
		x0, y0, x1, y1 := s.W, s.H, -1, -1
		for j, v := range s.Image(i) {
			if v == 0 {
				continue
			}
			x, y := j%s.W, j/s.W
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
			inked++
			mass += float64(v)
			momentX += float64(v) * (float64(x) + 0.5)
			momentY += float64(v) * (float64(y) + 0.5)
		}
		if min(x0, y0, s.W-1-x1, s.H-1-y1) < 2 {
			t.Errorf("image %d (digit %d) has ink in the outer 2 pixels", i, s.Labels[i])
		}
		if side := max(x1-x0, y1-y0) + 1; side < 17 || side > 23 {
			t.Errorf("image %d (digit %d) is %d pixels long, want about 20", i, s.Labels[i], side)
		}
		sum += mass / 255
		offCentre += max(abs(momentX/mass-14), abs(momentY/mass-14))
	}
	pixels := float64(len(s.Pixels))
	if mean := sum / pixels; mean < 0.12 || mean > 0.145 {
		t.Errorf("mean intensity is %.4f, want about 0.131", mean)
	}
	if share := inked / pixels; share < 0.17 || share > 0.21 {
		t.Errorf("share of pixels that are not black is %.3f, want about 0.19", share)
	}
	if mean := offCentre / n; mean > 1 {
		t.Errorf("the centres of mass are %.2f pixels off the middle, want less than 1", mean)
	}
}

func abs(x float64) float64 { return max(x, -x) }

// A classifier that takes the nearest mean image of a class must do well here,
// as the classes would else be no classes, but not too well, as there would be
// no variety.
func TestDigitsSeparable(t *testing.T) {
	all := Digits(3000, 4)
	train, test := all.Slice(0, 2000), all.Slice(2000, 3000)
	size := train.Size()
	means := make([][]float64, digitClasses)
	for digit := range means {
		means[digit] = make([]float64, size)
	}
	for i, label := range train.Labels {
		for j, v := range train.Image(i) {
			means[label][j] += float64(v) / 200 // 200 of each digit
		}
	}
	right := 0
	for i, label := range test.Labels {
		nearest, least := -1, 0.0
		for digit, mean := range means {
			distance := 0.0
			for j, v := range test.Image(i) {
				d := float64(v) - mean[j]
				distance += d * d
			}
			if nearest < 0 || distance < least {
				nearest, least = digit, distance
			}
		}
		if nearest == int(label) {
			right++
		}
	}
	t.Logf("nearest class mean is right for %d of %d", right, test.Len())
	if share := float64(right) / float64(test.Len()); share < 0.7 || share > 0.97 {
		t.Errorf("nearest class mean is right for %.3f of the images, want 0.7 to 0.97", share)
	}
}

func TestGlyphShares(t *testing.T) {
	for digit, ways := range glyphs {
		sum := 0
		for _, g := range ways {
			sum += g.share
		}
		if sum != 100 {
			t.Errorf("the shares of digit %d add up to %d, want 100", digit, sum)
		}
	}
}

func BenchmarkDigits(b *testing.B) {
	for b.Loop() {
		Digits(1000, 1)
	}
}
