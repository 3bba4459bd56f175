// Package corrupt specifies how the inputs of a model are made worse, so that it learns to make them good again. Every backend computes the same bits:
// all sums have one order, every product and every sum is rounded to float32, and what is random is drawn as package rng says.
package corrupt

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/rng"
)

// Kind is a way of making a sample worse.
type Kind uint8

const (
	// Gaussian adds normal noise of standard deviation Amount, and clips to [0,1].
	Gaussian Kind = iota
	// Speckle adds the value times normal noise of standard deviation Amount, and clips to [0,1].
	Speckle
	// SaltAndPepper makes a share Amount of the values 0 or 1, one as often as the other.
	SaltAndPepper
	// Masking fills square patches of Size pixels, each with probability Amount, with Value. Patches tile the image from its first pixel on.
	Masking
	// Blur averages pixels by a Gaussian of standard deviation Amount, in pixels, that ends three of them away; the image is mirrored beyond its sides,
	// edge pixels twice.
	Blur
	// Downscale averages squares of Size pixels, which tile the image from its first pixel on, and interpolates between their centres.
	Downscale
	// JPEG loses what a JPEG file of a quality from Quality[0] to Quality[1] loses, drawn for each sample; of images of one channel or of three, red, green and
	// blue.
	JPEG
	kinds
)

var names = [kinds]string{"gaussian", "speckle", "salt_and_pepper", "masking", "blur", "downscale", "jpeg"}

func (k Kind) String() string { return names[k] }

// Kinds lists the names of all kinds.
func Kinds() []string { return names[:] }

// Corruption is a kind with its numbers; those that the kind does not have are 0.
type Corruption struct {
	Kind
	Amount float32
	Size   int
	Value  float32
	// Quality is the least and the most of JPEG, 1 to 100.
	Quality [2]int
}

const (
	// MaxBlur is the largest standard deviation of a Blur.
	MaxBlur = 5
	// MaxWeights is how many weights the widest Blur has, by distance from the middle.
	MaxWeights = 3*MaxBlur + 1
	maxStd     = 100
	maxSize    = 4096
)

// Check reports the first number that cannot be.
func (c Corruption) Check() error {
	amount, most := "share", 1.0
	switch c.Kind {
	case Gaussian, Speckle:
		amount, most = "std", maxStd
	case Blur:
		amount, most = "std", MaxBlur
	case SaltAndPepper, Masking, Downscale, JPEG:
	default:
		return fmt.Errorf("there is no corruption %d", c.Kind)
	}
	if v := float64(c.Amount); c.Kind != Downscale && c.Kind != JPEG && !(v > 0 && v <= most) {
		return fmt.Errorf("%s: %s is %v, want more than 0 and at most %v", c.Kind, amount, c.Amount, most)
	}
	switch {
	case c.Kind == Masking && (c.Size < 1 || c.Size > maxSize):
		return fmt.Errorf("masking: size is %d, want 1 to %d", c.Size, maxSize)
	case c.Kind == Downscale && (c.Size < 2 || c.Size > maxSize):
		return fmt.Errorf("downscale: factor is %d, want 2 to %d", c.Size, maxSize)
	case c.Kind == JPEG && !(1 <= c.Quality[0] && c.Quality[0] <= c.Quality[1] && c.Quality[1] <= 100):
		return fmt.Errorf("jpeg: quality is %d to %d, want 1 to 100, the least first", c.Quality[0], c.Quality[1])
	case c.Kind == Masking && !(c.Value >= 0 && c.Value <= 1):
		return fmt.Errorf("masking: value is %v, want 0 to 1", c.Value)
	}
	return nil
}

// CheckImage reports a kind that samples of h rows and w columns of channels values cannot have.
func (c Corruption) CheckImage(h, w, channels int) error {
	if c.Kind >= Masking && h*w == 1 {
		return fmt.Errorf("%v is for images, and the samples are vectors", c.Kind)
	}
	if c.Kind == JPEG && channels != 1 && channels != 3 {
		return fmt.Errorf("jpeg is for images of 1 channel or of 3, and these have %d", channels)
	}
	return nil
}

// Weights returns those of a Blur by distance from the middle, and the largest distance.
func (c Corruption) Weights() (w [MaxWeights]float32, radius int) {
	std := float64(c.Amount)
	radius = int(math.Ceil(3 * std))
	at := func(d int) float64 { return math.Exp(-float64(d*d) / (2 * std * std)) }
	sum := at(0)
	for d := 1; d <= radius; d++ {
		sum += 2 * at(d)
	}
	for d := range radius + 1 {
		w[d] = float32(at(d) / sum)
	}
	return w, radius
}

// Source returns what corruption i of a list draws from, where noise before it draws from noise: streams above all others but those of layers.
func Source(noise rng.Source, i int) rng.Source {
	noise.Stream = noise.Stream<<8 | uint32(i+1)
	return noise
}

// Most is how many corruptions a list may have.
const Most = 16

// Sample fills dst with the sample x, of h rows and w columns of channels values, made worse. What is random in it is that of a row and a draw of
// a source. dst must not be x.
func (c Corruption) Sample(dst, x []float32, h, w, channels int, src rng.Source, row, draw uint32) {
	switch c.Kind {
	case Gaussian, Speckle:
		for i := 0; i < len(x); i += 4 {
			z := src.Normals(uint32(i/4), row, draw)
			for j := i; j < min(i+4, len(x)); j++ {
				noise := c.Amount * z[j-i]
				if c.Kind == Speckle {
					noise *= x[j]
				}
				dst[j] = min(max(x[j]+noise, 0), 1)
			}
		}
	case SaltAndPepper:
		for i := 0; i < len(x); i += 4 {
			u := src.Uniforms(uint32(i/4), row, draw)
			for j := i; j < min(i+4, len(x)); j++ {
				switch {
				case u[j-i] < c.Amount/2:
					dst[j] = 0
				case u[j-i] < c.Amount:
					dst[j] = 1
				default:
					dst[j] = x[j]
				}
			}
		}
	case Masking:
		across := (w + c.Size - 1) / c.Size
		for i := range x {
			pixel := i / channels
			patch := pixel/w/c.Size*across + pixel%w/c.Size
			if dst[i] = x[i]; src.Uniforms(uint32(patch/4), row, draw)[patch%4] < c.Amount {
				dst[i] = c.Value
			}
		}
	case Blur:
		c.blur(dst, x, h, w, channels)
	case Downscale:
		c.downscale(dst, x, h, w, channels)
	case JPEG:
		c.jpeg(dst, x, h, w, channels, src, row, draw)
	}
}

func (c Corruption) blur(dst, x []float32, h, w, channels int) {
	weights, r := c.Weights()
	for i := range x {
		ch, px, py := i%channels, i/channels%w, i/channels/w
		sum := float32(0)
		for dy := -r; dy <= r; dy++ {
			line := float32(0)
			for dx := -r; dx <= r; dx++ {
				line += float32(weights[max(dx, -dx)] * x[(mirrored(py+dy, h)*w+mirrored(px+dx, w))*channels+ch])
			}
			sum += float32(weights[max(dy, -dy)] * line)
		}
		dst[i] = sum
	}
}

// mirrored returns the place within n of a place beyond them.
func mirrored(i, n int) int {
	if i %= 2 * n; i < 0 {
		i += 2 * n
	}
	return min(i, 2*n-1-i)
}

func (c Corruption) downscale(dst, x []float32, h, w, channels int) {
	for i := range x {
		ch, px, py := i%channels, i/channels%w, i/channels/w
		x0, x1, fx := c.between(px, w)
		y0, y1, fy := c.between(py, h)
		square := func(by, bx int) float32 { return c.square(x, by, bx, h, w, channels, ch) }
		upper := mix(square(y0, x0), square(y0, x1), fx)
		lower := mix(square(y1, x0), square(y1, x1), fx)
		dst[i] = mix(upper, lower, fy)
	}
}

func mix(a, b, share float32) float32 { return float32(a*(1-share)) + float32(b*share) }

// between returns the two of the squares along a side of n pixels between whose centres a pixel lies, and how far it is from the first one.
func (c Corruption) between(at, n int) (first, second int, share float32) {
	twice := 2*at + 1 - c.Size // of the distance from the centre of square 0
	last := (n+c.Size-1)/c.Size - 1
	if twice <= 0 {
		return 0, 0, 0
	}
	first = twice / (2 * c.Size)
	share = float32(twice-2*c.Size*first) / float32(2*c.Size)
	return min(first, last), min(first+1, last), share
}

// square returns the mean of a channel over a square, as far as it is within the image.
func (c Corruption) square(x []float32, by, bx, h, w, channels, ch int) float32 {
	sum, n := float32(0), 0
	for py := by * c.Size; py < min((by+1)*c.Size, h); py++ {
		for px := bx * c.Size; px < min((bx+1)*c.Size, w); px++ {
			sum += x[(py*w+px)*channels+ch]
			n++
		}
	}
	return sum / float32(n)
}
