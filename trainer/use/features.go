package use

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/picture"
)

// Features draws the filters of a model's first layer with weights: those of a convolution, or the weights of each unit
// of a dense layer on the model's input. Each is scaled by its largest weight; mid-grey is 0, white is positive. Of a
// model that selects inputs it is one image, with the selected inputs in white.
func Features(m *nn.Model) ([]picture.Image, error) {
	for _, info := range m.Layers {
		if info.Trainable == 0 {
			continue
		}
		p := m.Params[0]
		from, ok := p.Shape.Image(), true
		shape := backend.Shape{N: 1, H: p.Shape.H, W: p.Shape.W, C: p.Shape.C}
		switch info.Layer.(type) {
		case *layer.Conv2D:
			if ok = shape.C == 1 || shape.C == 3; !ok {
				return nil, fmt.Errorf("the filters of %s in model %q have %d channels, want 1 or 3 to draw them", info.Name, m.Config.Name, shape.C)
			}
		case *layer.Dense, *layer.Concrete:
			if from != m.Input.Len() {
				return nil, fmt.Errorf("%s of model %q has %d inputs, the model %d: want a dense layer on the model's input itself", info.Name, m.Config.Name, from, m.Input.Len())
			}
			if shape, ok = ImageShape(m.Input); !ok {
				return nil, fmt.Errorf("model %q takes %d values, which are no image: want a model of images to draw its features", m.Config.Name, m.Input.Len())
			}
		default:
			return nil, fmt.Errorf("%s is the first layer with weights of model %q: want conv2d, dense or concrete to draw its features", info.Name, m.Config.Name)
		}
		image := func(pix []float32) picture.Image {
			return picture.Image{H: shape.H, W: shape.W, C: shape.C, Pix: pix}
		}
		if selected := m.Selected(); selected != nil {
			pix := make([]float32, from)
			for _, i := range selected {
				pix[i] = 1
			}
			return []picture.Image{image(pix)}, nil
		}
		images := make([]picture.Image, p.Shape.N)
		for i := range images {
			images[i] = image(centred(p.Data[i*from:][:from]))
		}
		return images, nil
	}
	return nil, fmt.Errorf("model %q has no weights, and so no features", m.Config.Name)
}

// centred maps weights to [0,1], 0 to the middle and the largest to an end.
func centred(weights []float32) []float32 {
	var largest float32
	for _, w := range weights {
		largest = max(largest, w, -w)
	}
	pix := make([]float32, len(weights))
	for i, w := range weights {
		pix[i] = 0.5
		if largest > 0 {
			pix[i] += w / largest / 2
		}
	}
	return pix
}

// ImageShape returns the image that a model's input or output is. A vector is taken for a square grey one.
func ImageShape(s backend.Shape) (image backend.Shape, ok bool) {
	if s.H*s.W > 1 {
		return s, s.C == 1 || s.C == 3
	}
	side := int(math.Round(math.Sqrt(float64(s.C))))
	return backend.Shape{N: 1, H: side, W: side, C: 1}, side*side == s.C
}
