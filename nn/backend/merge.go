package backend

// CheckPlus checks the arguments of Plus.
func CheckPlus(out, a, b *Tensor) {
	out.either(out.Shape)
	a.either(out.Shape)
	b.either(out.Shape)
}

// CheckCopyChannels checks the arguments of CopyChannels.
func CheckCopyChannels(dst *Tensor, to int, src *Tensor, from, count int) {
	d, s := dst.Shape, src.Shape
	dst.either(d)
	src.either(s)
	if d.N != s.N || d.H != s.H || d.W != s.W {
		panic(MistakeShape)
	}
	if count < 0 || to < 0 || to > d.C-count || from < 0 || from > s.C-count {
		panic(MistakeChannels)
	}
}
