// Package rng draws the same random bits everywhere: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011), a counter-based generator, and a normal transform made of IEEE float32 additions,
// multiplications, divisions and square roots in a fixed order. The CPU backend, the GPU kernels and the simulator
// compute it bit for bit alike, so that one seed gives one run.
//
// A number's position decides its value: (seed, stream, draw, row, column). Nothing is carried from one draw to the next,
// so rows can be drawn in any order, by any number of workers.
package rng

import "math/bits"

// Streams keep the draws of one seed apart. Layers that draw add their index to StreamLayer.
const (
	StreamInit      uint32 = iota + 1 // initial weights
	StreamShuffle                     // order of the samples in an epoch
	StreamNoise                       // corruption of training inputs; see also corrupt.Source
	StreamEvaluate                    // corruption of validation and test inputs
	StreamTest                        // test data
	StreamCode                        // codes of variational models, in evaluation and from the prior
	StreamDirection                   // directions in which contractive encoders are probed
	StreamAugment                     // augmentation of pictures
	StreamLayer     uint32 = 1 << 16  // dropout and the like
)

const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85
)

// Philox returns the four 32-bit words of Philox4x32-10 for a counter and a key.
func Philox(c [4]uint32, k0, k1 uint32) [4]uint32 {
	for range 10 {
		p0 := philoxM0 * uint64(c[0])
		p1 := philoxM1 * uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += philoxW0
		k1 += philoxW1
	}
	return c
}

// A Source names a sequence of draws: a user's seed and a stream within it.
type Source struct {
	Seed   uint64
	Stream uint32
}

// Words returns words 4*block to 4*block+3 of a row: row is the sample, draw counts what is drawn afresh (epochs,
// steps).
func (s Source) Words(block, row, draw uint32) [4]uint32 {
	return Philox([4]uint32{block, row, draw, s.Stream}, uint32(s.Seed), uint32(s.Seed>>32))
}

// Uniform maps a word to [0,1) in steps of 2^-24.
func Uniform(w uint32) float32 { return float32(w>>8) * (1.0 / (1 << 24)) }

// Uniforms returns four numbers in [0,1), columns 4*block to 4*block+3 of a row.
func (s Source) Uniforms(block, row, draw uint32) [4]float32 {
	w := s.Words(block, row, draw)
	return [4]float32{Uniform(w[0]), Uniform(w[1]), Uniform(w[2]), Uniform(w[3])}
}

// Normals returns four standard normal numbers, columns 4*block to 4*block+3 of a row.
func (s Source) Normals(block, row, draw uint32) [4]float32 {
	w := s.Words(block, row, draw)
	a, b := BoxMuller(w[0], w[1])
	c, d := BoxMuller(w[2], w[3])
	return [4]float32{a, b, c, d}
}

// Perm fills p with a permutation of 0..len(p)-1 (Fisher-Yates; the draw is usually the epoch).
func (s Source) Perm(p []int32, draw uint32) {
	for i := range p {
		p[i] = int32(i)
	}
	for i := len(p) - 1; i > 0; i-- {
		w := s.Words(uint32(i), 0, draw)
		// 64 random bits: the bias of the multiplication is below 2^-32.
		hi, _ := bits.Mul64(uint64(w[0])<<32|uint64(w[1]), uint64(i+1))
		p[i], p[hi] = p[hi], p[i]
	}
}
