package simd

// Mode is what Multiply does with its sums.
type Mode uint8

const (
	Store Mode = iota // C = sum
	Relu              // C = max(sum, 0), NaN for NaN
	Add               // C += sum
	Mask              // C = sum where Mask > 0, else 0: the derivative of ReLU at its output
)

// Product is a matrix product with strided rows. For y < H, r < W and n < N
//
//	C[y*CH+r*CW+n] = mode(Bias[n] + sum over t and k < K of A[y*AH+r*AW+Taps[t]+k] * B[(t*K+k)*Columns()+n])
//
// A convolution of an NHWC image with a border has a tap for each row of the kernel, with K = its columns times the
// channels; a dense layer has one tap. Strides and offsets are in floats.
//
// With Pairs the floats of A and B are words, pairs of bfloat16, and the product of two words is the sum of the products of their first and of their
// second numbers.
type Product struct {
	C      []float32
	CH, CW int
	A      []float32
	AH, AW int
	Taps   []int // in any order, none below 0
	K      int
	B      []float32 // a panel of weights, len(Taps)*K rows of Columns() floats
	Bias   []float32 // N, or nil for 0
	Mode   Mode
	Mask   []float32 // for Mode Mask, laid out as C
	H, W   int
	N      int // at most Columns()
	Pairs  bool
}

const (
	errProduct = "simd: the slices of a Product do not fit"
	errOuter   = "simd: the slices of an Outer do not fit"
)

// extent is the length of a slice with h rows of w pixels of n floats at those strides.
func extent(h, hs, w, ws, n int) int { return (h-1)*hs + (w-1)*ws + n }

// valid panics unless all that is read and written lies within the slices.
func (p *Product) valid() {
	c, far := extent(p.H, p.CH, p.W, p.CW, p.N), 0
	for _, t := range p.Taps {
		if t < 0 {
			panic(errProduct)
		}
		far = max(far, t)
	}
	if min(p.CH, p.CW, p.AH, p.AW, p.K) < 0 || p.N > Columns() || p.Mode > Mask || c > len(p.C) ||
		len(p.Taps) > 0 && extent(p.H, p.AH, p.W, p.AW, far+p.K) > len(p.A) || len(p.Taps)*p.K*Columns() > len(p.B) ||
		p.Bias != nil && p.N > len(p.Bias) || p.Mode == Mask && c > len(p.Mask) {
		panic(errProduct)
	}
}

// Multiply computes a Product. The order of the sum is that of t and k, whatever the level; its products are fused into
// it by the assembly. Of pairs AVX512BF16 adds the second product before the first, and AMX adds the sums of up to 16 first products and of as many second
// ones. Both round after each product that they add, and take what is below the smallest normal float32 for zero, before and after.
func Multiply(p *Product) {
	if p.H <= 0 || p.W <= 0 || p.N <= 0 {
		return
	}
	p.valid()
	if current == None || p.Pairs && !Pairs() || len(p.Taps) == 0 || p.K == 0 {
		p.plain()
		return
	}
	most := tileRows(p.N)
	if p.Pairs && chosen == AMX {
		most = amxRows
	}
	if p.H == 1 || p.CH == p.W*p.CW && p.AH == p.W*p.AW {
		// The rows of C and of A follow on each other without gaps, so all pixels are one column of tiles. They are as equal
		// as can be: some have one row more than the others.
		tiles := (p.H*p.W + most - 1) / most
		rows, longer := p.H*p.W/tiles, p.H*p.W%tiles
		p.tile(0, rows+1, longer, (rows+1)*p.CW, (rows+1)*p.AW)
		p.tile(longer*(rows+1), rows, tiles-longer, rows*p.CW, rows*p.AW)
		return
	}
	tiles := (p.W + most - 1) / most
	for i := range tiles {
		r, end := i*p.W/tiles, (i+1)*p.W/tiles
		p.tile(r, end-r, p.H, p.CH, p.AH)
	}
}

// tileRows is how many rows of n columns a tile of the assembly has at most.
func tileRows(n int) int {
	switch {
	case current == AVX512:
		return 14
	case current == NEON && n >= 16:
		return 5
	case current == NEON && n >= 8:
		return 10
	case current == AVX2 && n > 8:
		return 6
	}
	return 12
}

// tile computes h tiles of rows rows each. The first begins at row r; the next begins ch floats further in C, and ah in A.
func (p *Product) tile(r, rows, h, ch, ah int) {
	if h == 0 {
		return
	}
	var bias, mask *float32
	if p.Bias != nil {
		bias = &p.Bias[0]
	}
	if p.Mode == Mask {
		mask = &p.Mask[r*p.CW]
	}
	c, cw, a, aw, taps, b := &p.C[r*p.CW], bytes(p.CW), &p.A[r*p.AW], bytes(p.AW), &p.Taps[0], &p.B[0]
	if p.Pairs {
		if chosen == AMX {
			p.tileAMX(r, rows, h, ch, ah)
			return
		}
		multiplyAVX512BF16(c, bytes(ch), cw, a, bytes(ah), aw, taps, len(p.Taps), p.K, b, bias, int(p.Mode), mask, h, rows, p.N)
		return
	}
	switch current {
	case AVX512:
		multiplyAVX512(c, bytes(ch), cw, a, bytes(ah), aw, taps, len(p.Taps), p.K, b, bias, int(p.Mode), mask, h, rows, p.N)
	case AVX2:
		multiplyAVX2(c, bytes(ch), cw, a, bytes(ah), aw, taps, len(p.Taps), p.K, b, bias, int(p.Mode), mask, h, rows, p.N)
	case NEON:
		for n, cols := 0, 0; n < p.N; n += cols {
			cols = neonColumns(p.N - n)
			if p.Bias != nil {
				bias = &p.Bias[n]
			}
			if p.Mode == Mask {
				mask = &p.Mask[r*p.CW+n]
			}
			multiplyNEON(&p.C[r*p.CW+n], bytes(ch), cw, a, bytes(ah), aw, taps, len(p.Taps), p.K, &p.B[n], bias, int(p.Mode), mask, h, rows, cols)
		}
	}
}

// neonColumns is how many of n columns the next tile of NEON has.
func neonColumns(n int) int {
	for _, cols := range [...]int{16, 8, 4} {
		if n >= cols {
			return cols
		}
	}
	return n
}

// bytes converts a stride in floats to bytes, which the assembly counts in.
func bytes(stride int) uintptr { return 4 * uintptr(stride) }

// plain takes eight columns of a pixel at a time.
func (p *Product) plain() {
	width := Columns()
	for y := range p.H {
		for r := range p.W {
			at := y*p.CH + r*p.CW
			for n0 := 0; n0 < p.N; n0 += 8 {
				var s [8]float32
				if p.Bias != nil {
					copy(s[:], p.Bias[n0:p.N])
				}
				row := n0 // of B
				for _, t := range p.Taps {
					for _, v := range p.A[y*p.AH+r*p.AW+t:][:p.K] {
						w := p.B[row:][:8]
						row += width
						if p.Pairs {
							for i := range s {
								s[i] = addPair(s[i], v, w[i])
							}
							continue
						}
						s[0] += v * w[0]
						s[1] += v * w[1]
						s[2] += v * w[2]
						s[3] += v * w[3]
						s[4] += v * w[4]
						s[5] += v * w[5]
						s[6] += v * w[6]
						s[7] += v * w[7]
					}
				}
				p.finish(at+n0, s[:min(8, p.N-n0)])
			}
		}
	}
}

// finish stores sums at a place of C.
func (p *Product) finish(at int, sums []float32) {
	c := p.C[at:][:len(sums)]
	switch p.Mode {
	case Store:
		copy(c, sums)
	case Relu:
		for i, s := range sums {
			c[i] = max(s, 0)
		}
	case Add:
		for i, s := range sums {
			c[i] += s
		}
	case Mask:
		for i, m := range p.Mask[at:][:len(sums)] {
			c[i] = 0
			if m > 0 {
				c[i] = sums[i]
			}
		}
	}
}

// Outer is a sum of outer products. For m < M and n < N
//
//	C[m*CM+n] += sum over y < H and x < W of A[y*AH+x*AW+m] * B[y*BH+x*BW+n]
//
// It is the gradient of weights: A has the gradient of the outputs, B the inputs under one row of the kernel. Strides are
// in floats. With Pairs the floats of A and B are pairs of bfloat16, as in a Product: of two pixels.
type Outer struct {
	C      []float32
	CM     int
	A      []float32
	AH, AW int
	B      []float32
	BH, BW int
	H, W   int
	M, N   int
	Set    bool // C = the sum, which starts from zero
	Pairs  bool
}

func (o *Outer) valid() {
	if min(o.CM, o.AH, o.AW, o.BH, o.BW) < 0 || (o.M-1)*o.CM+o.N > len(o.C) ||
		extent(o.H, o.AH, o.W, o.AW, o.M) > len(o.A) || extent(o.H, o.BH, o.W, o.BW, o.N) > len(o.B) {
		panic(errOuter)
	}
}

// AddOuter computes an Outer. The order of the sum is that of y and x, whatever the level, and starts from C, or from zero.
func AddOuter(o *Outer) {
	if o.H <= 0 || o.W <= 0 || o.M <= 0 || o.N <= 0 {
		return
	}
	o.valid()
	if current == None || o.Pairs && !Pairs() {
		o.plain()
		return
	}
	o.bands()
}

// bandFloats is how much of A and B is used for all tiles before the next part: it stays in the L2 cache.
const bandFloats = 256 << 10

// bands cuts H, or W when a row is too long, into nearly equal parts.
func (o *Outer) bands() {
	parts := (o.H*o.W*(o.M+o.N) + bandFloats - 1) / bandFloats
	if parts <= o.H {
		for i := range parts {
			y, end := i*o.H/parts, (i+1)*o.H/parts
			o.tiles(y, 0, end-y, o.W)
		}
		return
	}
	parts = min((parts+o.H-1)/o.H, o.W)
	for y := range o.H {
		for i := range parts {
			x, end := i*o.W/parts, (i+1)*o.W/parts
			o.tiles(y, x, 1, end-x)
		}
	}
}

// fewColumns is the most columns of C for which its transpose, with them as rows, makes better tiles.
const fewColumns = 12

// tiles cuts C into tiles, for the h by w pixels from (y, x). Set holds for the first of them.
func (o *Outer) tiles(y, x, h, w int) {
	if o.N <= fewColumns && o.N < o.M {
		o.transposed(y, x, h, w)
		return
	}
	a, b := o.A[y*o.AH+x*o.AW:], o.B[y*o.BH+x*o.BW:]
	var set int
	if o.Set && y+x == 0 {
		set = 1
	}
	for n, cols := 0, 0; n < o.N; n += cols {
		cols = min(o.N-n, Columns())
		switch {
		case current == AVX2 && cols < Columns():
			cols = min(cols, 8)
		case current == NEON:
			cols = neonColumns(cols)
		}
		most := tileRows(cols)
		tiles := (o.M + most - 1) / most
		for i := range tiles {
			m, end := i*o.M/tiles, (i+1)*o.M/tiles
			c := &o.C[m*o.CM+n]
			switch {
			case o.Pairs:
				outerAVX512BF16(c, bytes(o.CM), &a[m], bytes(o.AH), bytes(o.AW), &b[n], bytes(o.BH), bytes(o.BW), h, w, end-m, cols, set)
			case current == AVX512:
				outerAVX512(c, bytes(o.CM), &a[m], bytes(o.AH), bytes(o.AW), &b[n], bytes(o.BH), bytes(o.BW), h, w, end-m, cols, set)
			case current == AVX2:
				outerAVX2(c, bytes(o.CM), &a[m], bytes(o.AH), bytes(o.AW), &b[n], bytes(o.BH), bytes(o.BW), h, w, end-m, cols, set)
			case current == NEON:
				outerNEON(c, bytes(o.CM), &a[m], bytes(o.AH), bytes(o.AW), &b[n], bytes(o.BH), bytes(o.BW), h, w, end-m, cols, set)
			}
		}
	}
}

// plain adds a pixel at a time.
func (o *Outer) plain() {
	if o.Set {
		for m := range o.M {
			clear(o.C[m*o.CM:][:o.N])
		}
	}
	for y := range o.H {
		for x := range o.W {
			a, b := o.A[y*o.AH+x*o.AW:][:o.M], o.B[y*o.BH+x*o.BW:][:o.N]
			for m, v := range a {
				c := o.C[m*o.CM:][:len(b)]
				for n, w := range b {
					if o.Pairs {
						c[n] = addPair(c[n], v, w)
						continue
					}
					c[n] += v * w
				}
			}
		}
	}
}

// transposed is tiles by way of the transpose of C.
func (o *Outer) transposed(y, x, h, w int) {
	var c [fewColumns * 32]float32
	q := Outer{Set: o.Set && y+x == 0, C: c[:], CM: 32, B: o.A, BH: o.AH, BW: o.AW, A: o.B, AH: o.BH, AW: o.BW, M: o.N, Pairs: o.Pairs}
	for m := 0; m < o.M; m += q.N {
		q.N = min(o.M-m, 32)
		q.B = o.A[m:]
		for i := range q.N {
			for n, v := range o.C[(m+i)*o.CM:][:o.N] {
				c[n*32+i] = v
			}
		}
		q.tiles(y, x, h, w)
		for i := range q.N {
			to := o.C[(m+i)*o.CM:][:o.N]
			for n := range to {
				to[n] = c[n*32+i]
			}
		}
	}
}
