package backend

// CheckPlus checks the arguments of Plus.
func CheckPlus(out, a, b *Tensor) {
	out.activation(out.Shape)
	a.activation(out.Shape)
	b.activation(out.Shape)
}

// CheckCopyChannels checks the arguments of CopyChannels.
func CheckCopyChannels(dst *Tensor, to int, src *Tensor, from, count int) {
	d, s := dst.Shape, src.Shape
	dst.activation(d)
	src.activation(s)
	if d.N != s.N || d.H != s.H || d.W != s.W {
		panic(MistakeShape)
	}
	if count < 0 || to < 0 || to > d.C-count || from < 0 || from > s.C-count {
		panic(MistakeChannels)
	}
}
