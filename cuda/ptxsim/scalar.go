package ptxsim

import (
	"math"
	"math/bits"
)

type integer interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~uint32 | ~int64 | ~uint64
}

// quotient and remainder do not trap: PTX leaves division by zero to the machine, and idle lanes may hold zeros.
func quotient[T integer](a, b T) T {
	if b == 0 {
		return ^T(0)
	}
	return a / b
}

func remainder[T integer](a, b T) T {
	if b == 0 {
		return a
	}
	return a % b
}

func mulHiU64(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	return hi
}

func mulHiS64(a, b int64) int64 {
	hi, _ := bits.Mul64(uint64(a), uint64(b))
	return int64(hi) - a>>63&b - b>>63&a
}

func clampS32(v int64) int32 { return int32(min(max(v, math.MinInt32), math.MaxInt32)) }

// saturate converts to the nearest value of D.
func saturate[D, S integer](v S) D {
	d := D(v)
	if S(d) == v && (d < 0) == (v < 0) {
		return d
	}
	lo, hi := limits[D]()
	if v < 0 {
		return lo
	}
	return hi
}

func limits[D integer]() (lo, hi D) {
	hi = ^D(0)
	if hi < 0 {
		for hi = 1; hi<<1|1 > 0 && hi<<1|1 != hi; {
			hi = hi<<1 | 1
		}
		lo = -hi - 1
	}
	return lo, hi
}

// toInt converts a whole number to the nearest value of D; NaN becomes 0.
func toInt[D integer](v float64) D {
	if v >= -1<<31 && v < 1<<31 {
		return saturate[D](int64(v))
	}
	switch lo, hi := limits[D](); {
	case v != v:
		return 0
	case v <= float64(lo):
		return lo
	case v >= float64(hi):
		return hi
	case v >= 1<<63:
		return D(uint64(v))
	}
	return D(int64(v))
}

// roundMode is a directed rounding.
type roundMode int

const (
	towardZero roundMode = iota
	towardNegative
	towardPositive
)

// toOdd turns s, the nearest float64 to an exact value that differs from it by a little of the sign of e, into that
// value rounded to odd. Rounding the result to at most 51 bits is then the same as rounding the exact value.
func toOdd(s, e float64) float64 {
	if e == 0 || s != s || math.IsInf(s, 0) {
		return s
	}
	u := math.Float64bits(s)
	if u&1 == 0 {
		if (e > 0) == (s > 0) {
			u++
		} else {
			u--
		}
	}
	return math.Float64frombits(u)
}

// sumError is the exact error of s = a+b.
func sumError(a, b, s float64) float64 {
	bb := s - a
	return (a - (s - bb)) + (b - bb)
}

// fma32 rounds a*b+c once. The product is exact in float64; only where the sum falls on a boundary between two float32
// values can rounding a second time differ from rounding once.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	r := float32(s)
	if math.Float64bits(s)&0x0fffffff == 0 && float64(r) != s {
		r = fmaTie(p, float64(c), s)
	}
	return r
}

func fmaTie(p, c, s float64) float32 { return float32(toOdd(s, sumError(p, c, s))) }

// round32 rounds to float32 in a direction.
func round32(v float64, m roundMode) float32 {
	r := float32(v)
	if float64(r) == v || v != v {
		return r
	}
	up := float64(r) > v
	switch {
	case up && (m == towardNegative || m == towardZero && v > 0):
		return math.Nextafter32(r, float32(math.Inf(-1)))
	case !up && (m == towardPositive || m == towardZero && v < 0):
		return math.Nextafter32(r, float32(math.Inf(1)))
	}
	return r
}

// roundSum is round32 of p+c, both exact; an exact zero takes the sign that the rounding direction gives it.
func roundSum(p, c float64, m roundMode) float32 {
	s := p + c
	if s == 0 && m == towardNegative && (math.Signbit(p) || math.Signbit(c)) {
		return float32(math.Copysign(0, -1))
	}
	return round32(toOdd(s, sumError(p, c, s)), m)
}

func addRound(a, b float32, m roundMode) float32 { return roundSum(float64(a), float64(b), m) }
func subRound(a, b float32, m roundMode) float32 { return roundSum(float64(a), float64(-b), m) }
func mulRound(a, b float32, m roundMode) float32 { return round32(float64(a)*float64(b), m) }
func fmaRound(a, b, c float32, m roundMode) float32 {
	return roundSum(float64(a)*float64(b), float64(c), m)
}

func divRound(a, b float32, m roundMode) float32 {
	x, y := float64(a), float64(b)
	q := x / y
	if q == 0 || q != q || math.IsInf(q, 0) || math.IsInf(y, 0) {
		return float32(q)
	}
	e := math.FMA(-q, y, x) // x - q*y has the sign of the quotient's error times y
	if y < 0 {
		e = -e
	}
	return round32(toOdd(q, e), m)
}

func sqrtRound(a float32, m roundMode) float32 {
	s := math.Sqrt(float64(a))
	if s == 0 || s != s || math.IsInf(s, 0) {
		return float32(s)
	}
	return round32(toOdd(s, math.FMA(-s, s, float64(a))), m)
}

// divApprox is division by way of a reciprocal, which is 0 for the largest divisors.
func divApprox(a, b float32) float32 {
	if x := abs32(b); x > 0x1p126 && x <= math.MaxFloat32 {
		return a * 0 * b
	}
	return a / b
}

// rcpApprox64 keeps the upper word of the reciprocal and flushes denormals, as rcp.approx.ftz.f64 does.
func rcpApprox64(a float64) float64 {
	if math.Float64bits(a)&(0x7ff<<52) == 0 {
		a = math.Copysign(0, a)
	}
	u := math.Float64bits(1/a) &^ (1<<32 - 1)
	if u&(0x7ff<<52) == 0 {
		u &= 1 << 63
	}
	return math.Float64frombits(u)
}

func abs32(a float32) float32 { return math.Float32frombits(math.Float32bits(a) &^ (1 << 31)) }

// ftz flushes a denormal to zero of its sign.
func ftz(a float32) float32 {
	if b := math.Float32bits(a); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return a
}

func sat(a float32) float32 {
	if !(a > 0) {
		return 0
	}
	return min(a, 1)
}

// minNum and maxNum return the number when the other is not one; -0 is less than 0.
func minNum[T float32 | float64](a, b T) T {
	switch {
	case a < b || b != b:
		return a
	case b < a || a != a:
		return b
	}
	return min(a, b)
}

func maxNum[T float32 | float64](a, b T) T {
	switch {
	case a > b || b != b:
		return a
	case b > a || a != a:
		return b
	}
	return max(a, b)
}

func minNaN(a, b float32) float32 { return min(a, b) }
func maxNaN(a, b float32) float32 { return max(a, b) }

// intToFloat converts with a directed rounding.
func intToFloat[F float32 | float64, S integer](v S, m roundMode) F {
	mag := uint64(v)
	if v < 0 {
		mag = -mag
		switch m { // the magnitude is rounded, so the directions swap
		case towardNegative:
			m = towardPositive
		case towardPositive:
			m = towardNegative
		}
	}
	digits := 24
	if F(1<<53-1) != F(1<<53) {
		digits = 53
	}
	if n := bits.Len64(mag) - digits; n > 0 {
		cut := mag >> n
		if m == towardPositive && cut<<n != mag {
			cut++
		}
		mag = cut << n
		if mag == 0 { // 2^64
			return F(math.Ldexp(1, 64))
		}
	}
	if v < 0 {
		return -F(mag)
	}
	return F(mag)
}

// property is what testp asks for.
type property int

const (
	finite property = iota
	infinite
	number
	notanumber
	normal
	subnormal
)

func testp32(v float32, p property) bool {
	return testpBits(uint64(math.Float32bits(v))<<1>>24&0xff, 255, v == 0, v != v, p)
}
func testp64(v float64, p property) bool {
	return testpBits(math.Float64bits(v)<<1>>53, 2047, v == 0, v != v, p)
}

func testpBits(exp, top uint64, zero, nan bool, p property) bool {
	switch p {
	case finite:
		return exp != top
	case infinite:
		return exp == top && !nan
	case number:
		return !nan
	case notanumber:
		return nan
	case normal:
		return exp != 0 && exp != top
	}
	return exp == 0 && !zero
}

// toTF32 rounds to 10 bits of fraction, ties away from zero.
func toTF32(u uint32) uint32 {
	if u&0x7f800000 == 0x7f800000 {
		if u&0x7fffff != 0 {
			return 0x7fffffff
		}
		return u
	}
	return (u + 0x1000) &^ 0x1fff
}

func fromHalf(h uint16) float32 {
	s, e, m := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&0x3ff
	switch e {
	case 0:
		v := float32(m) * 0x1p-24
		return math.Float32frombits(s | math.Float32bits(v))
	case 31:
		return math.Float32frombits(s | 0xff<<23 | m<<13)
	}
	return math.Float32frombits(s | (e+112)<<23 | m<<13)
}

func toHalf(f float32) uint16 {
	u := math.Float32bits(f)
	s := uint16(u>>16) & 0x8000
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000:
		return 0x7fff
	case u >= 0x477ff000: // rounds to infinity
		return s | 0x7c00
	case u < 0x38800000: // denormal or zero: a multiple of 2^-24
		return s | uint16(math.RoundToEven(float64(math.Float32frombits(u))*0x1p24))
	}
	return s | uint16((u+0xfff+u>>13&1-112<<23)>>13)
}

func toBfloat(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return 0x7fff
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func bfi32(a, b, pos, n uint32) uint32 {
	return uint32(bfi64(uint64(a), uint64(b), pos, n)) // a field that passes bit 31 is cut there
}

func bfi64(a, b uint64, pos, n uint32) uint64 {
	pos, n = pos&255, n&255
	m := uint64(1)<<n - 1
	m <<= pos
	return b&^m | a<<pos&m
}

func bfeU32(a, pos, n uint32) uint32 { return uint32(bfeU64(uint64(a), pos, n)) }
func bfeS32(a int32, pos, n uint32) int32 {
	return int32(bfeS64(int64(a), pos, n))
}
func bfeU64(a uint64, pos, n uint32) uint64 { return a >> (pos & 255) & (1<<(n&255) - 1) }

func bfeS64(a int64, pos, n uint32) int64 {
	pos, n = pos&255, n&255
	if n == 0 {
		return 0
	}
	v := a >> min(pos, 63)
	if n >= 64 {
		return v
	}
	return v << (64 - n) >> (64 - n)
}

// bfindU and bfindS return the highest bit that differs from the sign, all ones if none does.
func bfindU[T uint32 | uint64](a T) uint32 { return uint32(bits.Len64(uint64(a)) - 1) }
func bfindS[T int32 | int64](a T) uint32 {
	return uint32(bits.Len64(uint64(int64(a)^int64(a)>>63)) - 1)
}

func shiftAmount(bit, width uint32) uint32 {
	if bit == ^uint32(0) {
		return bit
	}
	return width - 1 - bit
}

func prmt(a, b, s uint32) uint32 {
	v := uint64(b)<<32 | uint64(a)
	var r uint32
	for i := range 4 {
		n := s >> (4 * i) & 15
		by := uint32(v>>(8*(n&7))) & 255
		if n&8 != 0 {
			by = uint32(int32(int8(by))>>7) & 255
		}
		r |= by << (8 * i)
	}
	return r
}

// lop3 looks up every bit triple in the table: bit 4a+2b+c of lut.
func lop3(a, b, c uint32, lut uint64) uint32 {
	t := func(k int) uint32 { return -uint32(lut >> k & 1) }
	hi := b&(c&t(7)|^c&t(6)) | ^b&(c&t(5)|^c&t(4))
	lo := b&(c&t(3)|^c&t(2)) | ^b&(c&t(1)|^c&t(0))
	return a&hi | ^a&lo
}
