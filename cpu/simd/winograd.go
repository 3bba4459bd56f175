package simd

// Transform is one of the linear maps of Winograd's minimal filtering F(4x4, 3x3), which makes a tile of 4x4 results of a kernel of 3x3 taps with
// 36 multiplications for each pair of channels, not 144, and of F(3x3, 4x4), which makes the gradient of the kernel. Each takes a square X of
// vectors, one element for each channel, to M X Mᵀ. See Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015. The
// polynomials of the method are evaluated at 0, ±3/4, ±3/2 and infinity: the usual 0, ±1, ±2 and infinity lose twice as much by rounding.
type Transform uint8

const (
	WinogradInput    Transform = iota // 6x6 pixels of the source to 6x6 positions
	WinogradKernel                    // 3x3 taps to 6x6 positions
	WinogradOutput                    // 6x6 positions to 4x4 pixels of the result, plus the bias
	WinogradGradient                  // 4x4 pixels of the gradient of the result to 6x6 positions
	WinogradTaps                      // 6x6 positions to the gradient of 3x3 taps, which is added
)

// The points at which polynomials are evaluated, and for each the product of its differences to the others.
const (
	pointA  = 0.75
	pointB  = 1.5
	squareA = pointA * pointA
	squareB = pointB * pointB
	scale0  = squareA * squareB
	scaleA  = 2 * squareA * (squareA - squareB)
	scaleB  = 2 * squareB * (squareB - squareA)
)

// transforms are the matrices M by rows, for in columns.
var transforms = [...]struct {
	in, out int
	m       []float32
}{
	WinogradInput: {6, 6, []float32{
		scale0, 0, -(squareA + squareB), 0, 1, 0,
		0, -pointA * squareB, -squareB, pointA, 1, 0,
		0, pointA * squareB, -squareB, -pointA, 1, 0,
		0, -pointB * squareA, -squareA, pointB, 1, 0,
		0, pointB * squareA, -squareA, -pointB, 1, 0,
		0, scale0, 0, -(squareA + squareB), 0, 1,
	}},
	WinogradKernel: {3, 6, []float32{
		1 / scale0, 0, 0,
		1 / scaleA, pointA / scaleA, squareA / scaleA,
		1 / scaleA, -pointA / scaleA, squareA / scaleA,
		1 / scaleB, pointB / scaleB, squareB / scaleB,
		1 / scaleB, -pointB / scaleB, squareB / scaleB,
		0, 0, 1,
	}},
	WinogradOutput: {6, 4, []float32{
		1, 1, 1, 1, 1, 0,
		0, pointA, -pointA, pointB, -pointB, 0,
		0, squareA, squareA, squareB, squareB, 0,
		0, pointA * squareA, -pointA * squareA, pointB * squareB, -pointB * squareB, 1,
	}},
	WinogradGradient: {4, 6, []float32{
		1 / scale0, 0, 0, 0,
		1 / scaleA, pointA / scaleA, squareA / scaleA, pointA * squareA / scaleA,
		1 / scaleA, -pointA / scaleA, squareA / scaleA, -pointA * squareA / scaleA,
		1 / scaleB, pointB / scaleB, squareB / scaleB, pointB * squareB / scaleB,
		1 / scaleB, -pointB / scaleB, squareB / scaleB, -pointB * squareB / scaleB,
		0, 0, 0, 1,
	}},
	WinogradTaps: {6, 3, []float32{
		1, 1, 1, 1, 1, 0,
		0, pointA, -pointA, pointB, -pointB, 0,
		0, squareA, squareA, squareB, squareB, 1,
	}},
}

// Tiles are the squares of vectors that a Transform reads and writes: vector (i, j) of tile t has N elements from
// Src[t*SrcTile+i*SrcRow+j*SrcCol] on, and so in Dst. Strides are in floats. Dst overlaps nothing.
type Tiles struct {
	Dst                     []float32
	DstRow, DstCol, DstTile int
	Src                     []float32
	SrcRow, SrcCol, SrcTile int
	Tiles, N                int
	Bias                    []float32 // of WinogradOutput: N elements
	ReLU                    bool      // of WinogradOutput: what is below 0 becomes 0; NaN stays
}

const errTiles = "simd: the slices of Tiles do not fit"

func (t *Tiles) valid(f Transform) {
	far := func(n, row, col, tile int) int { return (n-1)*(row+col) + extent(1, 0, t.Tiles, tile, t.N) }
	m := &transforms[f]
	if min(t.DstRow, t.DstCol, t.DstTile, t.SrcRow, t.SrcCol, t.SrcTile) < 0 || far(m.out, t.DstRow, t.DstCol, t.DstTile) > len(t.Dst) ||
		far(m.in, t.SrcRow, t.SrcCol, t.SrcTile) > len(t.Src) || f == WinogradOutput && t.N > len(t.Bias) {
		panic(errTiles)
	}
}

// Apply transforms the tiles. The assembly fuses multiplications into sums, in another order than the plain loop.
func (t *Tiles) Apply(f Transform) {
	if t.Tiles <= 0 || t.N <= 0 {
		return
	}
	t.valid(f)
	var between [36 * 16]float32
	dst, src, b := &t.Dst[0], &t.Src[0], &between[0]
	dr, dc, dt, sr, sc, st := bytes(t.DstRow), bytes(t.DstCol), bytes(t.DstTile), bytes(t.SrcRow), bytes(t.SrcCol), bytes(t.SrcTile)
	var relu int
	if t.ReLU {
		relu = 1
	}
	switch current {
	case AVX512:
		switch f {
		case WinogradInput:
			winogradInputAVX512(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradKernel:
			winogradKernelAVX512(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradOutput:
			winogradOutputAVX512(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N, &t.Bias[0], relu)
		case WinogradGradient:
			winogradGradientAVX512(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradTaps:
			winogradTapsAVX512(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		}
	case AVX2:
		switch f {
		case WinogradInput:
			winogradInputAVX2(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradKernel:
			winogradKernelAVX2(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradOutput:
			winogradOutputAVX2(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N, &t.Bias[0], relu)
		case WinogradGradient:
			winogradGradientAVX2(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradTaps:
			winogradTapsAVX2(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		}
	case NEON:
		switch f {
		case WinogradInput:
			winogradInputNEON(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradKernel:
			winogradKernelNEON(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradOutput:
			winogradOutputNEON(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N, &t.Bias[0], relu)
		case WinogradGradient:
			winogradGradientNEON(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		case WinogradTaps:
			winogradTapsNEON(dst, dr, dc, dt, src, sr, sc, st, b, t.Tiles, t.N)
		}
	default:
		t.plain(f)
	}
}

// plain multiplies by M, and then by its transpose, for one channel at a time.
func (t *Tiles) plain(f Transform) {
	in, out, m := transforms[f].in, transforms[f].out, transforms[f].m
	var half [36]float32
	for tile := range t.Tiles {
		for n := range t.N {
			src, dst := t.Src[tile*t.SrcTile+n:], t.Dst[tile*t.DstTile+n:]
			for i := range out {
				for j := range in {
					var sum float32
					for k := range in {
						sum += m[i*in+k] * src[k*t.SrcRow+j*t.SrcCol]
					}
					half[i*in+j] = sum
				}
			}
			for i := range out {
				for j := range out {
					var sum float32
					for k := range in {
						sum += half[i*in+k] * m[j*in+k]
					}
					to := &dst[i*t.DstRow+j*t.DstCol]
					switch f {
					case WinogradOutput:
						if sum += t.Bias[n]; t.ReLU {
							sum = max(sum, 0)
						}
					case WinogradTaps:
						sum += *to
					}
					*to = sum
				}
			}
		}
	}
}
