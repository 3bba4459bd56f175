package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// packing is how conv_pack packs the weights of a convolution for one direction: in so many words, of which those of a column lie together, or in
// planes of four words of all columns, as the forms by warpgroups read them. There are no words where weights are read as they are.
type packing struct {
	words  int
	planes bool
}

// packing says how the weights of a convolution are packed, forward and back. It depends on the shape of an image alone.
func (d *Device) packing(s *backend.ConvShape) (forward, back packing) {
	from := func(src source, w window, back bool) packing {
		kh, kw := w.taps(back)
		words := w.residues * w.residues * w.out.C * kh * kw * wordsOf(s.Multiply, src.c)
		switch {
		case d.takesWGMMA(s.Multiply, &src, &w, back):
			return packing{words, true}
		case s.Multiply == backend.BFloat16 && d.tensorCores() && packs(src.c) && w.out.C > fewColumns:
			return packing{words, false}
		}
		return packing{}
	}
	if s.Dilation > 1 {
		return packing{}, packing{}
	}
	gradients := source{c: s.Filters}
	if s.Pool > 1 {
		gradients.argmax = 1 // which takes shared memory
	}
	return from(source{c: s.X.C}, forwardWindow(s), false), from(gradients, backWindow(s), true)
}

// ConvPack packs the weights.
func (l *lane) ConvPack(s backend.ConvShape, dst, w backend.Tensor) {
	forward, back := l.dev.packing(&s)
	words, b := forward.words+back.words, backWindow(&s)
	if dst.Role != backend.Packed {
		panic(backend.MistakeRole)
	}
	if dst.Shape.Len() < 4*words {
		panic(backend.MistakeShape)
	}
	planes := 0
	if forward.planes {
		planes |= 1
	}
	if back.planes {
		planes |= 2
	}
	pairs := 0
	if s.Multiply == backend.BFloat16 {
		pairs = 1
	}
	l.launch1("ConvPack", kernels.ConvPack, words, ptr(l.at(w)), ptr(l.at(dst)), i32(s.KernelH), i32(s.KernelW), i32(s.Filters), i32(s.X.C), i32(s.Up),
		i32(s.PadTop), i32(s.PadLeft), i32(words), i32(forward.words), i32(b.residues), i32(b.top), i32(b.left), i32(pairs), i32(planes))
}

// wordsOf is the number of words of a pixel of so many channels as factors of a type: a word is a channel or, of bfloat16s, a pair of them.
func wordsOf(t backend.DType, channels int) int {
	if t == backend.BFloat16 {
		return channels / 2
	}
	return channels
}

// packedArgs are the parameters of a Correlation of packed weights and words.
func packedArgs(src *source, c *correlation, w *window) arguments {
	words, packed := *src, *c
	words.c, packed.w = wordsOf(c.multiply, src.c), c.packed
	return productArgs(&words, &packed, w)
}
