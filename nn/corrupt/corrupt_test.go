package corrupt

import (
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/nn/rng"
)

// As many values are corrupted as the numbers say, and all else stays.
func TestShares(t *testing.T) {
	const h, w, channels = 64, 48, 3
	x, out := make([]float32, h*w*channels), make([]float32, h*w*channels)
	for i := range x {
		x[i] = 0.5
	}
	src := rng.Source{Seed: 3, Stream: rng.StreamTest}
	count := func(c Corruption) (zeros, ones, same float64) {
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		c.Sample(out, x, h, w, channels, src, 1, 2)
		for _, v := range out {
			switch v {
			case 0:
				zeros++
			case 1:
				ones++
			case 0.5:
				same++
			}
		}
		n := float64(len(out))
		return zeros / n, ones / n, same / n
	}
	near := func(got, want, within float64) bool { return math.Abs(got-want) <= within }
	// Four standard deviations of as many draws.
	if z, o, s := count(Corruption{Kind: SaltAndPepper, Amount: 0.2}); !near(z, 0.1, 0.0125) || !near(o, 0.1, 0.0125) || z+o+s != 1 {
		t.Errorf("salt and pepper: %v zeros, %v ones, %v as they were", z, o, s)
	}
	if z, _, s := count(Corruption{Kind: Masking, Amount: 0.5, Size: 2}); !near(z, 0.5, 0.073) || !near(z+s, 1, 1e-12) {
		t.Errorf("masking: %v masked, %v as they were", z, s)
	}
	for _, c := range []Corruption{{Kind: Blur, Amount: 2}, {Kind: Downscale, Size: 5}} {
		c.Sample(out, x, h, w, channels, src, 1, 2)
		for _, v := range out {
			if !near(float64(v), 0.5, 1e-6) {
				t.Fatalf("%v makes %v of an even image", c.Kind, v)
			}
		}
	}
	c := Corruption{Kind: Speckle, Amount: 0.2}
	c.Sample(out, x, h, w, channels, src, 1, 2)
	sum := 0.0
	for _, v := range out {
		sum += (float64(v) - 0.5) * (float64(v) - 0.5)
	}
	if std := math.Sqrt(sum / float64(len(out))); !near(std, 0.1, 0.003) {
		t.Errorf("speckle of values of 0.5 has a standard deviation of %v, want 0.1", std)
	}
}

// A masked patch is a square of all channels.
func TestPatches(t *testing.T) {
	const h, w, channels, size = 10, 14, 2, 4
	x, out := make([]float32, h*w*channels), make([]float32, h*w*channels)
	Corruption{Kind: Masking, Amount: 0.5, Size: size, Value: 1}.Sample(out, x, h, w, channels, rng.Source{Seed: 5}, 0, 0)
	for i, v := range out {
		px, y := i/channels%w, i/channels/w
		if first := out[(y/size*size*w+px/size*size)*channels]; v != first {
			t.Errorf("channel %d of pixel %d,%d is %v, its patch begins with %v", i%channels, y, px, v, first)
		}
	}
}

func TestCheck(t *testing.T) {
	for want, c := range map[string]Corruption{
		"gaussian: std is 0, want more than 0 and at most 100": {Kind: Gaussian},
		"speckle: std is NaN":                                         {Kind: Speckle, Amount: float32(math.NaN())},
		"blur: std is 6, want more than 0 and at most 5":              {Kind: Blur, Amount: 6},
		"salt_and_pepper: share is 2, want more than 0 and at most 1": {Kind: SaltAndPepper, Amount: 2},
		"masking: size is 0, want 1 to":                               {Kind: Masking, Amount: 0.5},
		"masking: value is -1, want 0 to 1":                           {Kind: Masking, Amount: 0.5, Size: 2, Value: -1},
		"downscale: factor is 1, want 2 to":                           {Kind: Downscale, Size: 1},
		"jpeg: quality is 0 to 0, want 1 to 100":                      {Kind: JPEG},
		"jpeg: quality is 50 to 40, want":                             {Kind: JPEG, Quality: [2]int{50, 40}},
		"there is no corruption 99":                                   {Kind: 99},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	for k, name := range Kinds() {
		if Kind(k).String() != name {
			t.Errorf("kind %d is called %v and %v", k, Kind(k), name)
		}
	}
}
